"""Sharpness: the largest eigenvalues of the Hessian of each member's own loss.

The quantity is that of Cohen et al., 2021, arXiv 2103.00065 (gradient descent at learning rate η settles
where it is about 2/η). An adaptive optimizer settles by the eigenvalues of D⁻¹H instead: see `preconditioned`.
E counts eigenpairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from memcap.errors import BadInput
from memcap.measures.gradients import l2_norms
from memcap.measures.krylov import FEWEST_PRODUCTS, KrylovSpace

Product = Callable[[Tensor], Tensor]


class Eigenpairs(NamedTuple):
    """E approximate eigenpairs per member, values descending; all NaN but the count where a member's products are.

    values_ME     v·Hv of the returned unit vector v, float64; up to rounding never above the true eigenvalue
    residuals_ME  ‖Hv − λv‖, absolute, in the eigenvalue's units, float64: the true one, by one more product with
                  the returned v. Some eigenvalue lies within it of the value
    vectors_MEP   v, of the start's dtype; their sum, with noise, is a good warm start for the next call
    iterations_M  products the member needed until it was frozen, without the last ones; int64

    Pairs that were not found (a member has fewer eigenvalues, or its starts see fewer) are NaN and come last.
    """

    values_ME: Tensor
    residuals_ME: Tensor
    vectors_MEP: Tensor
    iterations_M: Tensor


@dataclasses.dataclass(frozen=True)
class SymmetricMatrix:
    """R (H + λI) R of each member, as a product: H its Hessian, R the diagonal ``root_MP`` (None: 1), λ ``penalty_M``
    (None: 0)."""

    hessian: Product
    root_MP: Tensor | None = None
    penalty_M: Tensor | None = None

    def __call__(self, vector_MP: Tensor) -> Tensor:
        if self.root_MP is not None:
            vector_MP = self.root_MP * vector_MP
        image_MP = self.hessian(vector_MP)
        if self.penalty_M is not None:
            image_MP = image_MP + self.penalty_M[:, None].to(image_MP) * vector_MP
        return image_MP if self.root_MP is None else self.root_MP * image_MP


def top_eigenvalues(
    hessian_vector_product: Product,
    start_MP: Tensor,
    *,
    count: int,
    more_starts: Sequence[Tensor] = (),
    max_iterations: int = 64,
    fewest: int = FEWEST_PRODUCTS,
    tolerance: float = 1e-3,
    check_every: int = 4,
) -> Eigenpairs:
    """The E = count largest (algebraic) eigenvalues of each member's symmetric matrix, by Lanczos fully
    reorthogonalized.

    hessian_vector_product: [M, P] -> [M, P], row i times member i's own matrix.
    start_MP: any nonzero vector (a zero one gives NaN). Warm start: the sum of earlier `vectors_MEP` plus fresh noise
    from the caller's own stream. Without noise a start that has become another eigenvector, or lies in any
    invariant subspace, looks converged at once and hides the top one; so the noise should be well above the
    tolerance, for example a tenth of the vector's norm.

    After `fewest` products, every `check_every` from then on, and after the last, a member is frozen if the residuals
    that Lanczos predicts (β |s|) are each at most tolerance · |value| or rounding noise of the dtype, or if its
    subspace is invariant (β = 0). What it has then is its result, whatever the others still do, so it does not depend
    on them. Members that reach max_iterations (or P) products return what they have: read residuals_ME.

    One start is sure to see only one copy of a multiple eigenvalue, because within a Krylov space none is multiple
    but by rounding. A Hessian has them by symmetry: that of a linear model under squared error is XᵀX ⊗ I, each
    eigenvalue V times. Every one of `more_starts` (fresh noise, [M, P] each) shows one more copy: Lanczos goes
    again, in the orthogonal complement of the vectors found so far, and the largest E of both are kept.

    Cost: at most min(max_iterations, P) + E products for each start, for all members together, and memory for as many
    [M, P].
    """
    if min(count, max_iterations, check_every) < 1:
        got = f"got count={count}, max_iterations={max_iterations}, check_every={check_every}"
        raise BadInput(f"top eigenvalues: count, max_iterations and check_every must be >= 1, {got}")
    if max_iterations < count:
        got = f"got count={count}, max_iterations={max_iterations}"
        raise BadInput(f"top eigenvalues: {got}, but each needs an iteration: raise max_iterations")
    pairs = None
    for one_start_MP in (start_MP, *more_starts):
        locked = None if pairs is None else (pairs.values_ME, pairs.vectors_MEP)
        space = KrylovSpace(one_start_MP, min(max_iterations, start_MP.shape[1]), locked=locked)
        coordinates_MEK, iterations_M = _grow(
            space, hessian_vector_product, start_MP.dtype, count,
            fewest=fewest, tolerance=tolerance, check_every=check_every,
        )  # fmt: skip
        vectors_MEP = torch.stack([space.combine(c_MK) for c_MK in coordinates_MEK.unbind(1)], dim=1)
        found = _with_true_residuals(hessian_vector_product, vectors_MEP.to(start_MP.dtype), iterations_M)
        pairs = _largest([found] if pairs is None else [pairs, found], count)
    assert pairs is not None
    return pairs


def preconditioned(
    product: Product, preconditioner_MP: Tensor, penalty_M: Tensor | None = None
) -> SymmetricMatrix:
    """D^(−1/2) (H + λI) D^(−1/2) for a positive diagonal D: symmetric, and with the eigenvalues of D⁻¹(H + λI).

    An eigenvector v of it stands for the eigenvector D^(−1/2) v of the other. Where D is not positive, the member's
    products are NaN. For Adam see `memcap.optimizers.KnowsStability` and Cohen et al. 2022, arXiv 2207.14484.
    """
    root_MP = preconditioner_MP.rsqrt()
    return SymmetricMatrix(product, root_MP.masked_fill(root_MP.isinf(), torch.nan), penalty_M)


def hessian_vector_products(loss_of_parameters: Callable[[Tensor], Tensor], parameters_MP: Tensor) -> Product:
    """A function v_MP ↦ H v, with H the Hessian of each member's own loss at the given parameters.

    loss_of_parameters: [M, P] -> [M], twice differentiable, member i's loss from row i only.
    The gradient's graph is built once, here, and every product is one backward pass through it (double
    backward). It lives as long as the returned function does, so let go of it after use.
    Parameters in which the loss is linear, or which it does not read, have zero rows.
    """
    parameters_MP = parameters_MP.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss_M = loss_of_parameters(parameters_MP)
        # The sum keeps members independent: the derivative of Σ_i ℓ_i with respect to row i is that of ℓ_i
        # alone. A mean would divide every Hessian by the number of neighbours.
        gradient_MP = _derivative(loss_M.sum(), parameters_MP, create_graph=True)

    def product(vector_MP: Tensor) -> Tensor:
        # The product with the vector as part of the graph, bit for bit what handing it over as grad_outputs gives:
        # there, torch imports sympy at its first call, which takes more than a second.
        with torch.enable_grad():
            projection = (gradient_MP * vector_MP).sum()
        return _derivative(projection, parameters_MP)

    return product


def dense_hessian(loss_of_parameters: Callable[[Tensor], Tensor], parameters_MP: Tensor) -> Tensor:
    """Hessian of each member's own loss, [M, P, P]: for checks of small models."""
    return dense_matrix(hessian_vector_products(loss_of_parameters, parameters_MP), parameters_MP)


def dense_matrix(product: Product, like_MP: Tensor) -> Tensor:
    """Each member's matrix [M, P, P] by P products with unit vectors, in the dtype and on the device of ``like_MP``."""
    num_members, num_parameters = like_MP.shape
    matrix_MPP = like_MP.new_empty(num_members, num_parameters, num_parameters)
    for column in range(num_parameters):
        unit_MP = torch.zeros_like(like_MP)
        unit_MP[:, column] = 1.0
        matrix_MPP[:, :, column] = product(unit_MP)
    return matrix_MPP.detach()


def _grow(
    space: KrylovSpace,
    product: Product,
    dtype: torch.dtype,
    count: int,
    *,
    fewest: int,
    tolerance: float,
    check_every: int,
) -> tuple[Tensor, Tensor]:
    """Lanczos until all members are frozen: their top vectors' coordinates, their product counts."""
    num_members, max_size = space.diagonal_MK.shape
    # Bookkeeping and small eigenproblems live on the CPU, in float64, on every device.
    coordinates_MEK = torch.zeros(num_members, count, max_size, dtype=torch.float64)
    iterations_M = torch.zeros(num_members, dtype=torch.int64)
    open_members = torch.arange(num_members)
    while len(open_members):
        space.extend(product(space.direction_MP.to(dtype)))
        is_last = space.size == max_size
        is_check = space.size >= fewest and (space.size - fewest) % check_every == 0
        if not (is_check or is_last):
            continue
        coordinates_mEK, sizes_m, settled_m = space.top_ritz_vectors(
            open_members, count=count, tolerance=tolerance
        )
        settled_m |= is_last
        frozen = open_members[settled_m]
        coordinates_MEK[frozen, :, : space.size] = coordinates_mEK[settled_m]
        iterations_M[frozen] = sizes_m[settled_m]
        open_members = open_members[~settled_m]
    return coordinates_MEK[:, :, : space.size], iterations_M


def _with_true_residuals(product: Product, vectors_MEP: Tensor, iterations_M: Tensor) -> Eigenpairs:
    """The eigenpairs of unit vectors: Rayleigh quotients and what is left of the eigenvalue equation."""
    values, residuals = [], []
    for vector_MP in vectors_MEP.unbind(1):
        image_MP = product(vector_MP.contiguous()).double()
        value_M = (vector_MP * image_MP).sum(dim=1) / vector_MP.double().square().sum(dim=1)
        values.append(value_M)
        residuals.append(l2_norms(image_MP - value_M[:, None] * vector_MP))
    values_ME, residuals_ME = torch.stack(values, dim=1), torch.stack(residuals, dim=1)
    return Eigenpairs(values_ME, residuals_ME, vectors_MEP, iterations_M.to(vectors_MEP.device))


def _largest(found: Sequence[Eigenpairs], count: int) -> Eigenpairs:
    """The largest pairs of each member, descending; NaN, which is none, comes last."""
    values_ME, residuals_ME = (torch.cat([pairs[field] for pairs in found], dim=1) for field in (0, 1))
    vectors_MEP = torch.cat([pairs.vectors_MEP for pairs in found], dim=1)
    order_ME = values_ME.nan_to_num(nan=-torch.inf).argsort(dim=1, descending=True, stable=True)[:, :count]
    order_MEP = order_ME[:, :, None].expand(-1, -1, vectors_MEP.shape[2])
    iterations_M = torch.stack([pairs.iterations_M for pairs in found]).sum(dim=0)
    return Eigenpairs(
        values_ME.gather(1, order_ME),
        residuals_ME.gather(1, order_ME),
        vectors_MEP.gather(1, order_MEP),
        iterations_M,
    )


def _derivative(of: Tensor, parameters_MP: Tensor, *, create_graph: bool = False) -> Tensor:
    """Gradient of a scalar, zero where it does not depend on the parameters."""
    if not of.requires_grad:
        return torch.zeros_like(parameters_MP)
    (gradient_MP,) = torch.autograd.grad(
        of, parameters_MP, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return gradient_MP
