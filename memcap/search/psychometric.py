"""At what size a chance of success passes one half: a logistic curve in log size, with an interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Chi-squared has 3.84; runs are placed by what the earlier ones gave, and with that limit 89 % of searches cover.
LIMIT = 5.0
LOCATIONS = 1601
SCALES = 15
LEAST_SCALE, LARGEST_SCALE = 0.02, 0.7  # of ln size; sharper steps than seeds make would feign certainty
MARGIN = 0.7  # of ln size beyond the sizes that were tried


class Threshold(NamedTuple):
    """The size at which the chance is 1/2 and its 95 % interval, 0 or infinite where the sizes tried bound nothing."""

    size: float
    low: float
    high: float


def threshold(sizes_N: np.ndarray, successes_N: np.ndarray, trials_N: np.ndarray) -> Threshold:
    """The threshold exp μ of p(size) = 1 / (1 + exp(−(ln size − μ) / s)), 0.02 ≤ s ≤ 0.7, by maximum likelihood.

    The interval holds all μ with 2 (max ln L − max_s ln L(μ, s)) ≤ 5.0, which covers in 95 % or more of simulated
    searches (``tests/search/test_threshold.py``). Where no size has both outcomes, the likelihood is flat between the
    last failure and the first success; the middle of that is taken. An end of the interval that reaches a factor 2
    beyond the sizes tried is infinite (0 below). Errors: a grid, 1/1600 of the range in μ; ends are rounded outwards.
    Cost: 24,000 logistic values per size (Wichmann and Hill 2001, Percept. Psychophys. 63).
    """
    x_N = np.log(np.asarray(sizes_N, dtype=float))
    location_L = np.linspace(x_N.min() - MARGIN, x_N.max() + MARGIN, LOCATIONS)
    scale_S = np.geomspace(LEAST_SCALE, LARGEST_SCALE, SCALES)
    z_LSN = (x_N - location_L[:, None, None]) / scale_S[:, None]
    # ln p = −ln(1 + e^−z) without overflow, and ln(1 − p) = ln p − z
    trials_N, failures_N = np.asarray(trials_N), np.asarray(trials_N) - np.asarray(successes_N)
    likelihood_LS = -(np.logaddexp(0, -z_LSN) @ trials_N + z_LSN @ failures_N)
    profile_L = likelihood_LS.max(1)
    top = profile_L.max()
    plateau = location_L[profile_L >= top - 1e-6 * max(1.0, abs(top))]
    inside = np.flatnonzero(2 * (top - profile_L) <= LIMIT)
    # One point further out: the ends lie between grid points, and rounding inwards would lose coverage.
    low = 0.0 if inside[0] == 0 else math.exp(location_L[inside[0] - 1])
    high = math.inf if inside[-1] == LOCATIONS - 1 else math.exp(location_L[inside[-1] + 1])
    return Threshold(math.exp((plateau[0] + plateau[-1]) / 2), low, high)


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson 1934, Biometrika 26); [0, 1] of no trial."""
    from scipy.special import betaincinv

    if trials == 0:
        return 0.0, 1.0
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, 0.025)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 0.975)) if failures else 1.0
    return low, high
