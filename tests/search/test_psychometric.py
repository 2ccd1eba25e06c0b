"""The threshold of a chance of success: exact intervals, coverage over repeated draws, cases without overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from memcap.search.psychometric import clopper_pearson, threshold


@pytest.mark.parametrize(("successes", "trials"), [(0, 8), (3, 8), (8, 8), (1, 2)])
def test_shares_have_scipys_exact_interval(successes: int, trials: int) -> None:
    exact = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, trials) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_no_trial_says_nothing() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_large_samples_give_the_curves_own_threshold() -> None:
    sizes = np.array([8, 10, 12, 14, 16, 18, 20])
    chance = 1 / (1 + np.exp(-(np.log(sizes) - math.log(13.0)) / 0.1))
    fit = threshold(sizes, np.round(1e5 * chance), np.full(7, 1e5))
    assert fit.size == pytest.approx(13.0, rel=0.01)
    assert fit.high / fit.low < 1.02


def test_without_overlap_the_middle_is_taken_and_the_gap_is_inside() -> None:
    fit = threshold(np.array([8, 16]), np.array([0, 6]), np.array([6, 6]))
    assert fit.size == pytest.approx(math.sqrt(8 * 16), rel=0.03)
    assert fit.low < 9
    assert fit.high > 15


@pytest.mark.parametrize(("successes", "end"), [([4, 4], "low"), ([0, 0], "high")])
def test_sizes_that_bound_nothing_leave_an_end_open(successes: list[int], end: str) -> None:
    fit = threshold(np.array([8, 16]), np.array(successes), np.array([4, 4]))
    assert (fit.low, fit.high)[end == "high"] == (math.inf if end == "high" else 0.0)


def test_intervals_cover_the_threshold() -> None:
    random, sizes = np.random.default_rng(0), np.array([8, 9, 10, 11, 12, 13, 14, 16, 18])
    chance = 1 / (1 + np.exp(-(np.log(sizes) - math.log(12.0)) / 0.08))
    fits = [threshold(sizes, random.binomial(8, chance), np.full(9, 8)) for _ in range(200)]
    assert (
        np.mean([fit.low <= 12.0 <= fit.high for fit in fits]) > 0.9
    )  # 95 % of 200, less three standard errors
    assert np.mean([math.log(fit.size / 12) for fit in fits]) == pytest.approx(0, abs=0.01)
