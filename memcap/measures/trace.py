"""The trace of each member's Hessian, from random probes: the mean curvature, times P.

Hutchinson, 1990, Commun. Stat. Simul. Comput. 19, 433; its error: Avron and Toledo, 2011, J. ACM 58, 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """A mean over K independent probes and its standard error, each [M], float64; the error of one is NaN."""

    value_M: Tensor
    standard_error_M: Tensor


def hutchinson_trace(product: Callable[[Tensor], Tensor], probes_KMP: Tensor) -> Estimate:
    r"""Trace of each member's symmetric matrix H, estimated without bias by the mean of zᵀHz over K probes z.

    product: [M, P] -> [M, P], row i times member i's own matrix.
    probes_KMP: Rademacher, which is ±1 with equal chances, from each member's own stream.

    .. math:: \operatorname{Var} z^\top H z = 2 \sum_{i \ne j} H_{ij}^2

    so a diagonal matrix is exact with one probe, and the error is at most √(2/K) ‖H‖_F. The standard error is
    the spread over the probes, so it needs K ≥ 2 and is itself uncertain by a share of 1/√(2(K - 1)).

    Cost: K products for all members together. A member whose products are not finite is not finite.
    """
    per_probe_KM = torch.stack(
        [(probe_MP.double() * product(probe_MP).double()).sum(dim=1) for probe_MP in probes_KMP]
    )
    return mean_over_probes(per_probe_KM)


def mean_over_probes(per_probe_KM: Tensor) -> Estimate:
    """Mean over K independent values, and its standard error: s / √K with the unbiased s²."""
    num_probes = len(per_probe_KM)
    value_M = per_probe_KM.mean(dim=0)
    if num_probes == 1:
        return Estimate(value_M, torch.full_like(value_M, torch.nan))
    return Estimate(value_M, per_probe_KM.std(dim=0) / num_probes**0.5)
