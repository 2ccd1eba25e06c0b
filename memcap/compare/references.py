"""What is possible at all, where it is known exactly: a line beside measured capacities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.optimum_columns import SEPARABLE_SIZE


@dataclasses.dataclass(frozen=True)
class Reference:
    """``num_samples``: N up to which half of all data sets can be memorized; ``bits`` of their labels there."""

    num_samples: float
    bits: float
    source: str


def cover_probability(num_samples: int, num_weights: int) -> float:
    """The share of the 2^N labellings of N points in general position that a plane through 0 in n dimensions separates.

    2^(1−N) Σ_{k<n} binom(N − 1, k): 1 up to N = n, one half at N = 2n. Summed as a binomial distribution, exact to
    1e-12 for any N. Cover, 1965, IEEE Trans. Electronic Computers 14, 326.
    """
    from scipy.special import bdtr

    if num_samples < 1 or num_weights < 1:
        raise ValueError(f"N and n must be at least 1, got {num_samples} and {num_weights}")
    return 1.0 if num_samples <= num_weights else float(bdtr(num_weights - 1, num_samples - 1, 0.5))


def exact_reference(configuration: Mapping[str, Any]) -> Reference | None:
    """The exact capacity of a run's configuration (dotted keys), or None where none is known here.

    Known: a linear model of two classes, whose difference of logits is one plane with n = D (+ 1 with bias) weights:
    N = 2n, one bit each. The inputs have to be in general position, as Gaussian ones are. ``EXACT`` takes more of them:
    a function from a configuration to a Reference, or None where it does not apply.
    """
    return next((found for find in EXACT if (found := find(configuration)) is not None), None)


def exact_num_samples(runs: pd.DataFrame) -> float:
    """The N up to which the runs of one configuration can be memorized at all; NaN where that is not known.

    Where ``memcap.with_separable_size`` has found the largest separable N of each seed's data, the median over seeds;
    else that of ``exact_reference``.
    """
    if SEPARABLE_SIZE in runs and runs[SEPARABLE_SIZE].notna().any():
        return float(runs.drop_duplicates("seed")[SEPARABLE_SIZE].median())
    exact = exact_reference({str(key): value for key, value in runs.iloc[0].items()})
    return float("nan") if exact is None else exact.num_samples


def binary_perceptron(configuration: Mapping[str, Any]) -> Reference | None:
    """Cover's 2n for ``model=linear``, ``data=random_labels`` of two classes."""
    if (configuration.get("model.kind"), configuration.get("data.kind")) != ("linear", "random_labels"):
        return None
    if configuration.get("data.num_classes") != 2:
        return None
    weights = int(configuration["data.input_dim"]) + bool(np.asarray(configuration.get("model.bias", False)))
    return Reference(2.0 * weights, 2.0 * weights, "Cover 1965: 2 labels per weight")


EXACT = [binary_perceptron]
