"""Krylov spaces of symmetric matrices, one per member, grown together: what Lanczos' method works in.

Lanczos, 1950, J. Res. Natl. Bur. Stand. 45, 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcap.measures.gradients import l2_norms

# A remainder below this many units of rounding, relative to the largest entry seen, is noise of the product.
ROUNDING_UNITS = 10


class KrylovSpace:
    """Orthonormal bases of span{v, Hv, H²v, ...}, one per member, and H within them, which is tridiagonal.

    K counts basis vectors. A member whose space is invariant gets zero vectors from then on; `sizes_M` says
    how many of its vectors are real.
    """

    def __init__(self, start_MP: Tensor, max_size: int) -> None:
        num_members, num_parameters = start_MP.shape
        self.rounding = ROUNDING_UNITS * torch.finfo(start_MP.dtype).eps
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
        self.direction_MP = _unit_rows(remainder_MP).masked_fill(self.complete_M[:, None], 0.0)

    def top_ritz_vectors(self, members: Tensor, *, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        """For some members: coordinates of their top Ritz vectors [m, size], sizes [m], whether to stop [m].

        On the CPU in float64, matrix by matrix. NaN members have NaN coordinates and stop.
        """
        index = members.to(self.complete_M.device)
        tridiagonal_mKK, finite_m = self._tridiagonal(index)
        values_mK, vectors_mKK = torch.linalg.eigh(tridiagonal_mKK)
        # A complete member passes: its offdiagonal entry is noise, or zero.
        residual_m = (self.offdiagonal_MK[index, self.size - 1].cpu() * vectors_mKK[:, -1, -1]).abs()
        noise_m = self.rounding * self.scale_M[index].cpu()
        converged_m = residual_m <= torch.maximum(tolerance * values_mK[:, -1].abs(), noise_m)
        coordinates_mK = vectors_mKK[:, :, -1].masked_fill(~finite_m[:, None], torch.nan)
        return coordinates_mK, self.sizes_M[index].cpu(), converged_m | ~finite_m

    def combine(self, coordinates_MK: Tensor) -> Tensor:
        """Unit vectors [M, P] with these coordinates in the bases."""
        coordinates_MK = coordinates_MK.to(self.basis_MKP)
        return _unit_rows(torch.einsum("mk,mkp->mp", coordinates_MK, self.basis_MKP[:, : self.size]))

    def _project_out(self, vectors_MP: Tensor) -> tuple[Tensor, Tensor]:
        """What the bases cannot express, and the coordinates of what they can."""
        basis_MKP = self.basis_MKP[:, : self.size]
        overlaps_MK = torch.einsum("mkp,mp->mk", basis_MKP, vectors_MP)
        return vectors_MP - torch.einsum("mk,mkp->mp", overlaps_MK, basis_MKP), overlaps_MK

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
