"""A noisy curve near its peak, from its neighbours too: local regression with errors."""

from __future__ import annotations

import numpy as np

LEAST_FOR_QUADRATIC = 5  # points in the window


def local_fit(
    x_N: np.ndarray, mean_N: np.ndarray, variance_N: np.ndarray, half_width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each point's value from a local polynomial through its neighbourhood, and its standard error, both [N].

    Weighted least squares in x − x_i over |x − x_i| < half_width, weights (1 − (Δ/h)²) / variance (Epanechnikov's
    kernel): a quadratic for five points or more, else the point's own mean, since a line through few points cuts off
    a peak. The error is that of the means carried through the fit; what the polynomial misses is not in it.
    Cost: N small systems (Cleveland 1979, J. Am. Stat. Assoc. 74).
    """
    fitted_N, error_N = mean_N.astype(float).copy(), np.sqrt(variance_N)
    floor = np.maximum(variance_N, 1e-12 * np.maximum(mean_N**2, 1.0))  # all memorized: no scatter at all
    for i, x in enumerate(x_N):
        delta_N = x_N - x
        near = np.abs(delta_N) < half_width
        if (
            near.sum() < LEAST_FOR_QUADRATIC
            or not ((delta_N < 0) & near).any()
            or not ((delta_N > 0) & near).any()
        ):
            continue
        terms = np.vander(delta_N[near] / half_width, 3, increasing=True)
        weight = (1 - (delta_N[near] / half_width) ** 2) / floor[near]
        solve = np.linalg.pinv((terms.T * weight) @ terms)[0] @ (terms.T * weight)
        fitted_N[i] = solve @ mean_N[near]
        error_N[i] = np.sqrt(solve**2 @ variance_N[near])
    return fitted_N, error_N
