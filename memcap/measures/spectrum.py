"""The whole Hessian spectrum of each member: exactly for small models, as a quadrature for any.

Stochastic Lanczos quadrature: Golub and Meurant, 2010, Matrices, Moments and Quadrature; Ubaru, Chen and Saad, 2017,
SIAM J. Matrix Anal. Appl. 38, 1075; for neural networks: Ghorbani et al., 2019, arXiv 1901.10159.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from memcap.config.measure_schema import MOST_DENSE
from memcap.errors import BadInput
from memcap.measures.krylov import KrylovSpace
from memcap.measures.sharpness import dense_hessian
from memcap.measures.trace import Estimate, mean_over_probes


class Quadrature(NamedTuple):
    """Σ weight · f(node) ≈ tr f(H) / P for each member's matrix H; [M, K · steps] in all, on the CPU in float64.

    nodes_MK     Ritz values, probe after probe, ascending within each; NaN where its Krylov space ended early
    weights_MK   at least 0; they sum to 1/K over each probe, so to 1 over a member; 0 at NaN nodes
    sizes_M      how many nodes are real; int64
    num_probes   K

    A member whose products are not finite has NaN weights and no real nodes.
    """

    nodes_MK: Tensor
    weights_MK: Tensor
    sizes_M: Tensor
    num_probes: int


def dense_spectrum(loss_of_parameters: Callable[[Tensor], Tensor], parameters_MP: Tensor) -> Tensor:
    """All eigenvalues of the Hessian of each member's own loss, [M, P], ascending, float64, on the CPU.

    Exact up to rounding of the parameters' dtype in the Hessian's entries. A member whose Hessian is not finite
    is NaN. Cost: P products for all members together and P³ operations each; memory [M, P, P].
    """
    num_parameters = parameters_MP.shape[1]
    if num_parameters > MOST_DENSE:
        raise BadInput(
            f"dense_spectrum: got {num_parameters} parameters, expected at most {MOST_DENSE}; "
            "for larger models use stochastic_lanczos_quadrature, or a smaller model"
        )
    eigenvalues_MP = torch.full(parameters_MP.shape, torch.nan, dtype=torch.float64)
    for member, hessian_PP in enumerate(dense_hessian(loss_of_parameters, parameters_MP)):
        matrix_PP = hessian_PP.cpu().double()
        if matrix_PP.isfinite().all():
            eigenvalues_MP[member] = torch.linalg.eigvalsh((matrix_PP + matrix_PP.T) / 2)
    return eigenvalues_MP


def stochastic_lanczos_quadrature(
    product: Callable[[Tensor], Tensor], probes_KMP: Tensor, *, steps: int
) -> Quadrature:
    """Nodes and weights of each member's spectral density, from Lanczos with `steps` products for each probe.

    product: [M, P] -> [M, P], row i times member i's own symmetric matrix.
    probes_KMP: random vectors from each member's own stream, Rademacher or Gaussian; their norm does not count.

    Each probe z gives a Gauss quadrature of its own spectral measure, exact for polynomials f up to degree
    2 · steps - 1; only the mean over probes is that of tr f(H) / P. What differs between probes is the error of
    drawing them, see `spectral_moment`; eigenvalues inside the bulk are not resolved.

    Cost: K · min(steps, P) products for all members together, and memory for min(steps, P) of [M, P].
    """
    if steps < 1 or len(probes_KMP) < 1:
        got = f"got steps={steps} and {len(probes_KMP)} probes"
        raise BadInput(f"stochastic_lanczos_quadrature: {got}, expected at least 1 of each")
    num_probes, num_members, num_parameters = probes_KMP.shape
    nodes = torch.full((num_members, num_probes, steps), torch.nan, dtype=torch.float64)
    weights = torch.zeros_like(nodes)
    sizes_M = torch.zeros(num_members, dtype=torch.int64)
    for probe, probe_MP in enumerate(probes_KMP):
        space = KrylovSpace(probe_MP, max_size=min(steps, num_parameters))
        while space.size < min(steps, num_parameters) and not space.complete_M.all():
            space.extend(product(space.direction_MP.to(probe_MP.dtype)))
        nodes[:, probe, : space.size], weights[:, probe, : space.size], found_M = space.quadrature()
        sizes_M += found_M
    return Quadrature(nodes.flatten(1), weights.flatten(1) / num_probes, sizes_M, num_probes)


def spectral_moment(quadrature: Quadrature, order: int) -> Estimate:
    """tr Hⁿ / P of each member for n = order ≥ 1 with the standard error over probes; n = 1 is the mean eigenvalue.

    Free of bias if the probes are Rademacher or Gaussian and order < 2 · steps.
    """
    terms_MK = quadrature.weights_MK * quadrature.nodes_MK**order
    # NaN weights stay: the member is NaN.
    terms_MK = terms_MK.masked_fill(quadrature.weights_MK == 0, 0.0)
    per_probe_MK = terms_MK.unflatten(1, (quadrature.num_probes, -1)).sum(dim=2) * quadrature.num_probes
    return mean_over_probes(per_probe_MK.T)


def spectral_density(nodes_MK: Tensor, weights_MK: Tensor, grid: Tensor, width: float) -> Tensor:
    """Density of eigenvalues at some places, for plots: each node becomes a normal distribution.

    grid: the places in units of eigenvalues, [G] or of each member [M, G]. width: standard deviation, in the same
    units, > 0. Returns float64 [M, G] in 1 / those units; it integrates to 1 over the real line. NaN members
    are NaN. Features narrower than the width, or than the distance of nodes, are not there. Memory: [M, G].
    """
    if not width > 0:
        raise BadInput(
            f"spectral_density: got width={width}, expected a width > 0 in units of the eigenvalues"
        )
    grid_MG = grid.double().expand(len(nodes_MK), -1)
    density_MG = torch.zeros_like(grid_MG)
    for node_M1, weight_M1 in zip(nodes_MK.split(1, dim=1), weights_MK.split(1, dim=1), strict=True):
        bump_MG = torch.exp(-0.5 * ((grid_MG - node_M1) / width) ** 2) / (width * math.sqrt(2 * math.pi))
        density_MG += (weight_M1 * bump_MG).masked_fill(weight_M1 == 0, 0.0)
    return density_MG
