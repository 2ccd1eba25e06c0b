"""The laws of capacity over parameters, each with its logarithm, its slopes and its least squares."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True)
class Law(ABC):
    """log C = g(θ, P). θ holds what is estimated, ``named`` what is reported: a scale enters θ as its logarithm."""

    name: ClassVar[str]
    coefficients: ClassVar[tuple[str, ...]]
    logarithmic: ClassVar[tuple[bool, ...]]

    @abstractmethod
    def estimate(self, parameters_C: np.ndarray, capacity_C: np.ndarray, weights_C: np.ndarray) -> np.ndarray:
        """θ of least Σ w (log C − g)²."""

    @abstractmethod
    def log_value(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        """g at the points, [C]."""

    @abstractmethod
    def jacobian(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        """∂g/∂θ at the points, [C, K]."""

    def named(self, estimate: np.ndarray) -> dict[str, float]:
        """The coefficients as they are reported."""
        values = np.where(self.logarithmic, np.exp(np.where(self.logarithmic, estimate, 0.0)), estimate)
        return dict(zip(self.coefficients, values.tolist(), strict=True))

    def intervals(self, estimate: np.ndarray, half_width: np.ndarray) -> dict[str, tuple[float, float]]:
        """Ends of the intervals of the coefficients; those of a scale are symmetric in its logarithm."""
        low, high = self.named(estimate - half_width), self.named(estimate + half_width)
        return {name: (low[name], high[name]) for name in self.coefficients}


class Proportional(Law):
    """C = a P."""

    name = "proportional"
    coefficients = ("slope",)
    logarithmic = (True,)

    def estimate(self, parameters_C: np.ndarray, capacity_C: np.ndarray, weights_C: np.ndarray) -> np.ndarray:
        return np.array([np.average(np.log(capacity_C / parameters_C), weights=weights_C)])

    def log_value(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return np.asarray(estimate[0] + np.log(parameters_C))

    def jacobian(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return np.ones((len(parameters_C), 1))


class Linear(Law):
    """C = a P + b; the slope is what a parameter adds."""

    name = "linear"
    coefficients = ("slope", "intercept")
    logarithmic = (False, False)

    def estimate(self, parameters_C: np.ndarray, capacity_C: np.ndarray, weights_C: np.ndarray) -> np.ndarray:
        from scipy.optimize import least_squares

        # In units of the largest values: parameters and bits may be 1e9.
        most, scale = parameters_C.max(), capacity_C.max()
        design_CK = np.stack([parameters_C / most, np.ones_like(parameters_C)], 1)
        root_C = np.sqrt(weights_C)
        y_C = capacity_C / scale
        start = np.linalg.lstsq(design_CK * (root_C / y_C)[:, None], root_C, rcond=None)[0]

        def residuals(theta: np.ndarray) -> np.ndarray:
            return np.asarray(root_C * (np.log(np.maximum(design_CK @ theta, 1e-12)) - np.log(y_C)))

        theta = least_squares(residuals, start, xtol=1e-12, ftol=1e-12, gtol=1e-12).x
        return np.array([theta[0] * scale / most, theta[1] * scale])

    def log_value(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return np.log(self._value(estimate, parameters_C))

    def jacobian(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return (
            np.stack([parameters_C, np.ones_like(parameters_C)], 1)
            / self._value(estimate, parameters_C)[:, None]
        )

    @staticmethod
    def _value(estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        value_C = estimate[0] * parameters_C + estimate[1]
        return np.maximum(value_C, 1e-12 * np.abs(value_C).max())


class PowerLaw(Law):
    """C = a P^k."""

    name = "power_law"
    coefficients = ("prefactor", "exponent")
    logarithmic = (True, False)

    def estimate(self, parameters_C: np.ndarray, capacity_C: np.ndarray, weights_C: np.ndarray) -> np.ndarray:
        exponent, log_prefactor = np.polyfit(
            np.log(parameters_C), np.log(capacity_C), 1, w=np.sqrt(weights_C)
        )
        return np.array([log_prefactor, exponent])

    def log_value(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return np.asarray(estimate[0] + estimate[1] * np.log(parameters_C))

    def jacobian(self, estimate: np.ndarray, parameters_C: np.ndarray) -> np.ndarray:
        return np.stack([np.ones_like(parameters_C), np.log(parameters_C)], 1)


LAWS: tuple[Law, ...] = (Proportional(), Linear(), PowerLaw())
