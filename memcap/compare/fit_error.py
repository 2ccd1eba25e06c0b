"""Errors of capacities carried through a least-squares estimate: intervals of coefficients, and of the law itself."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from memcap.compare.laws import Law

LEVEL = 0.95
MISFIT_P = 0.05
LEAST_RELATIVE_ERROR = 1e-6


@dataclasses.dataclass(frozen=True)
class Points:
    """Capacities with their errors: parameters_C, capacity_C > 0, relative_error_C (standard error of the mean over
    the mean, NaN where unknown), num_seeds_C."""

    parameters_C: np.ndarray
    capacity_C: np.ndarray
    relative_error_C: np.ndarray
    num_seeds_C: np.ndarray

    @property
    def pooled(self) -> tuple[float, int]:
        """Relative standard deviation of one seed over all configurations, and its degrees of freedom (0: unknown)."""
        known = ~np.isnan(self.relative_error_C)
        freedom_C = (self.num_seeds_C - 1)[known]
        freedom = int(freedom_C.sum())
        if freedom == 0:
            return math.nan, 0
        variance_C = self.relative_error_C[known] ** 2 * self.num_seeds_C[known]
        return max(math.sqrt((freedom_C * variance_C).sum() / freedom), LEAST_RELATIVE_ERROR), freedom


@dataclasses.dataclass(frozen=True)
class FitError:
    """How errors of log C move an estimate: δθ = propagate_KC δ(log C), with variance_C on freedom_C degrees each."""

    propagate_KC: np.ndarray
    variance_C: np.ndarray
    freedom_C: np.ndarray
    left: int
    chi_squared: float
    misfit: float
    widened: float
    source: str

    @classmethod
    def of(cls, law: Law, estimate: np.ndarray, points: Points) -> FitError:
        jacobian_CK = law.jacobian(estimate, points.parameters_C)
        residual_C = np.log(points.capacity_C) - law.log_value(estimate, points.parameters_C)
        weighted_KC = jacobian_CK.T * points.num_seeds_C
        propagate_KC = np.linalg.solve(weighted_KC @ jacobian_CK, weighted_KC)
        spread, pooled_freedom = points.pooled
        left = len(residual_C) - len(estimate)
        squares = float((points.num_seeds_C * residual_C**2).sum())
        if not pooled_freedom:
            variance = squares / left if left else math.nan
            variance_C, freedom_C = variance / points.num_seeds_C, np.full(len(residual_C), np.nan)
            return cls(propagate_KC, variance_C, freedom_C, left, squares, math.nan, 1.0, "scatter")
        chi_squared = squares / spread**2
        known = np.where(
            np.isnan(points.relative_error_C), spread**2 / points.num_seeds_C, points.relative_error_C**2
        )
        freedom_C = np.where(points.num_seeds_C > 1, points.num_seeds_C - 1, pooled_freedom)
        misfit = chi_squared / left if left else math.nan
        widened = _widening(chi_squared, left, pooled_freedom)
        return cls(propagate_KC, known, freedom_C, left, chi_squared, misfit, widened, "capacities")

    def half_width(self, direction_QK: np.ndarray) -> np.ndarray:
        """Half of the 95 % interval of direction · θ, [Q]."""
        terms_QC = (direction_QK @ self.propagate_KC) ** 2 * self.variance_C
        error_Q = np.sqrt(terms_QC.sum(1))
        if self.source == "scatter":
            return _half_width(error_Q, np.full(len(error_Q), float(max(self.left, 1))))
        freedom_Q = terms_QC.sum(1) ** 2 / np.maximum((terms_QC**2 / (self.freedom_C + 2)).sum(1), 1e-300) - 2
        if self.widened > 1:
            freedom_Q = np.minimum(freedom_Q, self.left)
        return _half_width(error_Q * self.widened, freedom_Q)


def fit_band(law: Law, points: Points, parameters_Q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The law's value at these counts of parameters and the ends of its 95 % interval at each of them, [Q] each.

    The interval is of the law, not of a new point: log C's error is propagated as the coefficients' are, along ∂g/∂θ.
    """
    estimate = law.estimate(points.parameters_C, points.capacity_C, points.num_seeds_C)
    half_Q = FitError.of(law, estimate, points).half_width(law.jacobian(estimate, parameters_Q))
    log_Q = law.log_value(estimate, parameters_Q)
    with np.errstate(over="ignore"):
        return np.exp(log_Q), np.exp(log_Q - half_Q), np.exp(log_Q + half_Q)


def _widening(chi_squared: float, left: int, pooled_freedom: int) -> float:
    from scipy.special import fdtrc

    if left < 1 or fdtrc(left, pooled_freedom, chi_squared / left) >= MISFIT_P:
        return 1.0
    return math.sqrt(chi_squared / left)


def _half_width(error_K: np.ndarray, freedom_K: np.ndarray) -> np.ndarray:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.maximum(freedom_K, 1.0), (1 + LEVEL) / 2) * error_K)
