"""Krylov spaces of symmetric matrices, one per member, grown together: what Lanczos' method works in.

Lanczos, 1950, J. Res. Natl. Bur. Stand. 45, 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcap.measures.gradients import l2_norms

# A remainder below this many units of rounding, relative to the largest entry seen, is noise of the product.
ROUNDING_UNITS = 10
# Products before convergence is asked for: a warm start may look converged before its noise has been heard.
FEWEST_PRODUCTS = 6


def rounding_noise(dtype: torch.dtype) -> float:
    """What is noise of products in this type, relative to the largest entry seen."""
    return ROUNDING_UNITS * torch.finfo(dtype).eps


class KrylovSpace:
    """Orthonormal bases of span{v, Hv, H²v, ...}, one per member, and H within them, which is tridiagonal.

    K counts basis vectors, E eigenvectors. A member whose space is invariant gets zero vectors from then on;
    `sizes_M` says how many of its vectors are real.

    With locked eigenpairs (values [M, E], orthonormal vectors [M, E, P], NaN where there is none) all happens in
    the orthogonal complement of those vectors. A start with nothing in it counts as zero: the member is NaN.
    """

    def __init__(
        self, start_MP: Tensor, max_size: int, *, locked: tuple[Tensor, Tensor] | None = None
    ) -> None:
        num_members, num_parameters = start_MP.shape
        self.rounding = rounding_noise(start_MP.dtype)
        # A basis in half precision is not orthogonal; products are still asked for in the caller's dtype.
        start_MP = start_MP.to(torch.promote_types(start_MP.dtype, torch.float32))
        self.basis_MKP = start_MP.new_zeros(num_members, max_size, num_parameters)
        self.diagonal_MK = start_MP.new_zeros(num_members, max_size, dtype=torch.float64)
        self.offdiagonal_MK = torch.zeros_like(self.diagonal_MK)
        self.scale_M = torch.zeros_like(self.diagonal_MK[:, 0])
        self.complete_M = torch.zeros_like(self.scale_M, dtype=torch.bool)
        self.sizes_M = torch.zeros_like(self.scale_M, dtype=torch.int64)
        self.size = 0
        self.direction_MP = _unit_rows(start_MP)
        self.locked_MEP: Tensor | None = None
        if locked is not None:
            self._lock(*locked)

    def extend(self, image_MP: Tensor) -> None:
        """Takes the current direction into the basis, given its image under H, and finds the next one."""
        last = self.size
        self.size += 1
        self.sizes_M += (~self.complete_M).long()
        self.basis_MKP[:, last] = self.direction_MP
        remainder_MP = image_MP.to(self.basis_MKP.dtype)
        # Gram-Schmidt against all of the basis, twice: once leaves rounding that grows with every converged
        # eigenvector and shows up as copies of it.
        remainder_MP, overlaps_MK = self._project_out(remainder_MP)
        remainder_MP, _ = self._project_out(remainder_MP)
        diagonal_M = overlaps_MK[:, last].double()
        norm_M = l2_norms(remainder_MP)
        self.scale_M = torch.maximum(self.scale_M, torch.maximum(diagonal_M.abs(), norm_M))
        # False for NaN, so that a NaN member stays NaN instead of becoming a zero matrix.
        self.complete_M = self.complete_M | (norm_M <= self.rounding * self.scale_M)
        self.diagonal_MK[:, last] = diagonal_M
        self.offdiagonal_MK[:, last] = norm_M
        direction_MP = (remainder_MP / norm_M[:, None]).to(remainder_MP.dtype)
        self.direction_MP = direction_MP.masked_fill(self.complete_M[:, None], 0.0)

    def top_ritz_vectors(
        self, members: Tensor, *, count: int, tolerance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For some members: coordinates of their top E = count Ritz vectors [m, E, size], largest first, sizes [m],
        and whether to stop [m]: all of the E have converged, or the space holds no more.

        On the CPU in float64, matrix by matrix. Vectors that a space does not hold have NaN coordinates; NaN
        members have nothing else, and stop.
        """
        index = members.to(self.complete_M.device)
        tridiagonal_mKK, finite_m = self._tridiagonal(index)
        values_mK, vectors_mKK = torch.linalg.eigh(tridiagonal_mKK)
        found = min(count, self.size)
        values_mE = values_mK.flip(1)[:, :found]
        vectors_mEK = vectors_mKK.mT.flip(1)[:, :found]
        # A complete member passes: its offdiagonal entry is noise, or zero.
        residual_mE = (self.offdiagonal_MK[index, self.size - 1, None].cpu() * vectors_mEK[:, :, -1]).abs()
        noise_m1 = self.rounding * self.scale_M[index, None].cpu()
        converged_mE = residual_mE <= torch.maximum(tolerance * values_mE.abs(), noise_m1)
        sizes_m = self.sizes_M[index].cpu()
        is_real_mE = (torch.arange(count) < sizes_m[:, None]) & finite_m[:, None]
        coordinates_mEK = torch.full((len(index), count, self.size), torch.nan, dtype=torch.float64)
        coordinates_mEK[:, :found] = vectors_mEK
        coordinates_mEK.masked_fill_(~is_real_mE[:, :, None], torch.nan)
        has_all_m = (found == count) | self.complete_M[index].cpu()
        return coordinates_mEK, sizes_m, (converged_mE.all(dim=1) & has_all_m) | ~finite_m

    def combine(self, coordinates_MK: Tensor) -> Tensor:
        """Unit vectors [M, P] with these coordinates in the bases."""
        coordinates_MK = coordinates_MK.to(self.basis_MKP)
        return _unit_rows(torch.einsum("mk,mkp->mp", coordinates_MK, self.basis_MKP[:, : self.size]))

    def quadrature(self) -> tuple[Tensor, Tensor, Tensor]:
        """Gauss quadrature of each start's spectral measure: nodes and weights [M, size], how many are real [M].

        Nodes are the Ritz values, ascending, and weights, which sum to 1, the squared first components of their
        vectors (Golub and Welsch, 1969). NaN nodes of weight 0 fill up the rows of a space that ended early; a
        NaN member has none that are real, and NaN weights. On the CPU in float64.
        """
        index = torch.arange(len(self.sizes_M), device=self.complete_M.device)
        tridiagonal_MKK, finite_M = self._tridiagonal(index)
        nodes_MK, vectors_MKK = torch.linalg.eigh(tridiagonal_MKK)
        sizes_M = self.sizes_M.cpu().masked_fill(~finite_M, 0)
        # Places of zero vectors have the smallest eigenvalues.
        padding_M1 = self.size - sizes_M[:, None]
        place_1K = torch.arange(self.size)[None]
        source_MK = (place_1K + padding_M1) % self.size
        is_padding_MK = place_1K >= sizes_M[:, None]
        nodes_MK = nodes_MK.gather(1, source_MK).masked_fill(is_padding_MK, torch.nan)
        weights_MK = vectors_MKK[:, 0].square().gather(1, source_MK).masked_fill(is_padding_MK, 0.0)
        return nodes_MK, weights_MK / weights_MK.sum(dim=1, keepdim=True), sizes_M

    def _lock(self, values_ME: Tensor, vectors_MEP: Tensor) -> None:
        """Turns the start into the complement of some eigenvectors, and noise of the largest into zero."""
        self.locked_MEP = vectors_MEP.nan_to_num(0.0).to(self.basis_MKP)
        self.scale_M = values_ME.abs().nan_to_num(0.0).amax(dim=1)
        start_MP = self._without_locked(self._without_locked(self.direction_MP))
        nothing_M1 = l2_norms(start_MP)[:, None] <= self.rounding
        self.direction_MP = _unit_rows(start_MP.masked_fill(nothing_M1, 0.0))

    def _without_locked(self, vectors_MP: Tensor) -> Tensor:
        """What the locked vectors cannot express."""
        if self.locked_MEP is None:
            return vectors_MP
        overlaps_ME = torch.einsum("mep,mp->me", self.locked_MEP, vectors_MP)
        return vectors_MP - torch.einsum("me,mep->mp", overlaps_ME, self.locked_MEP)

    def _project_out(self, vectors_MP: Tensor) -> tuple[Tensor, Tensor]:
        """What bases and locked vectors cannot express, and the coordinates of what the bases can."""
        vectors_MP = self._without_locked(vectors_MP)
        basis_MKP = self.basis_MKP[:, : self.size]
        # With the vector on the left: B v, which einsum becomes too, takes torch ten times as long on a processor.
        overlaps_M1K = torch.bmm(vectors_MP[:, None], basis_MKP.mT)
        remainder_M1P = torch.baddbmm(vectors_MP[:, None], overlaps_M1K, basis_MKP, alpha=-1)
        return remainder_M1P[:, 0], overlaps_M1K[:, 0]

    def _tridiagonal(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """H in the bases of some members, lower half [m, size, size], and which of them are finite [m]."""
        size = self.size
        scale_m1 = self.scale_M[index, None]
        # Places of zero vectors must not look like eigenvalue 0, which would top a negative spectrum: they
        # get a value below any that a tridiagonal matrix with entries up to scale can have.
        below_m1 = torch.where(scale_m1 > 0, -4 * scale_m1, -1.0)
        is_real_mK = torch.arange(size, device=index.device) < self.sizes_M[index, None]
        diagonal_mK = torch.where(is_real_mK, self.diagonal_MK[index, :size], below_m1)
        tridiagonal_mKK = torch.diag_embed(diagonal_mK)
        tridiagonal_mKK += torch.diag_embed(self.offdiagonal_MK[index, : size - 1], offset=-1)
        tridiagonal_mKK = tridiagonal_mKK.cpu()
        finite_m = tridiagonal_mKK.isfinite().all(dim=2).all(dim=1)
        # eigh raises for the whole batch on one NaN.
        return tridiagonal_mKK.masked_fill(~finite_m[:, None, None], 0.0), finite_m


def _unit_rows(vectors_MP: Tensor) -> Tensor:
    """The rows, each divided by its L2 norm (in float64: rows may be subnormal)."""
    return (vectors_MP / l2_norms(vectors_MP)[:, None]).to(vectors_MP.dtype)
