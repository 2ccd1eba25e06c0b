"""Sharpness: the largest eigenvalue of the Hessian of each member's own loss.

The quantity is that of Cohen et al., 2021, arXiv 2103.00065 (gradient descent at learning rate η settles
where it is about 2/η). For a preconditioner D pass v ↦ D^(−1/2) H D^(−1/2) v, which has the eigenvalues of
D⁻¹H and is symmetric, as the method needs it to be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memcap.errors import BadInput
from memcap.measures.gradients import l2_norms
from memcap.measures.krylov import KrylovSpace


class Eigenpair(NamedTuple):
    """An approximate top eigenpair per member; all NaN but the count where a member's products are.

    value_M       v·Hv of the returned unit vector v, float64; up to rounding never above the true eigenvalue
    residual_M    ‖Hv − λv‖, absolute, in the eigenvalue's units, float64: the true one, by one more product
                  with the returned v. Some eigenvalue lies within it of value_M
    vector_MP     v, of the start's dtype; with noise, a good warm start for the next call
    iterations_M  products the member needed until it was frozen, without that last one; int64
    """

    value_M: Tensor
    residual_M: Tensor
    vector_MP: Tensor
    iterations_M: Tensor


def top_eigenvalue(
    hessian_vector_product: Callable[[Tensor], Tensor],
    start_MP: Tensor,
    *,
    max_iterations: int = 64,
    tolerance: float = 1e-3,
    check_every: int = 4,
) -> Eigenpair:
    """Largest (algebraic) eigenvalue of each member's symmetric matrix, by Lanczos fully reorthogonalized.

    hessian_vector_product: [M, P] -> [M, P], row i times member i's own matrix.
    start_MP: any nonzero vector (a zero one gives NaN). Warm start: an earlier `vector_MP` plus fresh noise
    from the caller's own stream. Without noise a start that has become another eigenvector, or lies in any
    invariant subspace, looks converged at once and hides the top one; so the noise should be well above the
    tolerance, for example a tenth of the vector's norm.

    Every `check_every` products, and after the last, a member is frozen if the residual that Lanczos predicts
    (β |s|) is at most tolerance · |value| or rounding noise of the dtype, or if its subspace is invariant
    (β = 0). What it has then is its result, whatever the others still do, so it does not depend on them.
    Members that reach max_iterations (or P) products return what they have: read residual_M.

    Cost: at most min(max_iterations, P) + 1 products for all members together, and memory for as many [M, P].
    """
    if max_iterations < 1 or check_every < 1:
        got = f"got max_iterations={max_iterations}, check_every={check_every}"
        raise BadInput(f"top_eigenvalue: max_iterations and check_every must be >= 1, {got}")
    space = KrylovSpace(start_MP, max_size=min(max_iterations, start_MP.shape[1]))
    coordinates_MK, iterations_M = _grow(
        space, hessian_vector_product, start_MP.dtype, tolerance=tolerance, check_every=check_every
    )
    vector_MP = space.combine(coordinates_MK).to(start_MP.dtype)
    return _with_true_residual(hessian_vector_product, vector_MP, iterations_M)


def hessian_vector_products(
    loss_of_parameters: Callable[[Tensor], Tensor], parameters_MP: Tensor
) -> Callable[[Tensor], Tensor]:
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
        return _derivative(gradient_MP, parameters_MP, weights=vector_MP)

    return product


def dense_hessian(loss_of_parameters: Callable[[Tensor], Tensor], parameters_MP: Tensor) -> Tensor:
    """Hessian of each member's own loss, [M, P, P], by P products: for checks of small models."""
    product = hessian_vector_products(loss_of_parameters, parameters_MP)
    unit_vectors_PP = torch.eye(
        parameters_MP.shape[1], dtype=parameters_MP.dtype, device=parameters_MP.device
    )
    columns = [product(unit_P.expand_as(parameters_MP).contiguous()) for unit_P in unit_vectors_PP]
    return torch.stack(columns, dim=2)


def _grow(
    space: KrylovSpace,
    product: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    *,
    tolerance: float,
    check_every: int,
) -> tuple[Tensor, Tensor]:
    """Lanczos until all members are frozen: their top vectors' coordinates, their product counts."""
    num_members, max_size = space.diagonal_MK.shape
    # Bookkeeping and small eigenproblems live on the CPU, in float64, on every device.
    coordinates_MK = torch.zeros(num_members, max_size, dtype=torch.float64)
    iterations_M = torch.zeros(num_members, dtype=torch.int64)
    open_members = torch.arange(num_members)
    while len(open_members):
        space.extend(product(space.direction_MP.to(dtype)))
        is_last = space.size == max_size
        if space.size % check_every and not is_last:
            continue
        coordinates_mK, sizes_m, settled_m = space.top_ritz_vectors(open_members, tolerance=tolerance)
        settled_m |= is_last
        frozen = open_members[settled_m]
        coordinates_MK[frozen, : space.size] = coordinates_mK[settled_m]
        iterations_M[frozen] = sizes_m[settled_m]
        open_members = open_members[~settled_m]
    return coordinates_MK[:, : space.size], iterations_M


def _with_true_residual(
    product: Callable[[Tensor], Tensor], vector_MP: Tensor, iterations_M: Tensor
) -> Eigenpair:
    """The eigenpair of a unit vector: its Rayleigh quotient and what is left of the eigenvalue equation."""
    image_MP = product(vector_MP).double()
    value_M = (vector_MP * image_MP).sum(dim=1) / vector_MP.double().square().sum(dim=1)
    residual_M = l2_norms(image_MP - value_M[:, None] * vector_MP)
    return Eigenpair(value_M, residual_M, vector_MP, iterations_M.to(vector_MP.device))


def _derivative(
    of: Tensor, parameters_MP: Tensor, *, weights: Tensor | None = None, create_graph: bool = False
) -> Tensor:
    """Gradient of `of` (weighted, if it is no scalar), zero where it does not depend on the parameters."""
    if not of.requires_grad:
        return torch.zeros_like(parameters_MP)
    (gradient_MP,) = torch.autograd.grad(
        of, parameters_MP, weights, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return gradient_MP
