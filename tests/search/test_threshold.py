"""Searches for the smallest size that succeeds, on chances that are known."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from search_cases import play

from memcap.search.lattice import Lattice
from memcap.search.threshold import ThresholdSearch
from memcap.search.trial import Trial


def search(prior: float, *, low: int = 1, high: int = 10**5, settings: int = 2) -> ThresholdSearch:
    return ThresholdSearch(Lattice(prior, 0.05, low, high), range(settings), range(12))


def succeeds(half: float, spread: float, random: np.random.Generator, trial: Trial) -> float:
    """A draw of the logistic chance; the second setting needs sizes 1.3 times as large."""
    x = math.log(trial.size / half / (1.0, 1.3)[trial.setting]) / spread
    return float(random.random() < 1 / (1 + math.exp(-x)))


@pytest.mark.parametrize(("half", "spread", "prior"), [(14.3, 0.05, 20), (37.2, 0.1, 10), (150.5, 0.1, 300)])
def test_the_interval_covers_the_smallest_size(half: float, spread: float, prior: float) -> None:
    found, shares = [], []
    for number in range(30):
        value = functools.partial(succeeds, half, spread, np.random.default_rng(number))
        hunt = search(prior)
        trials = [trial for asked in play(hunt, value) for trial in asked]
        assert len(trials) == len(set(trials))
        best = hunt.found()
        assert best is not None
        found.append(best)
        shares.append(len(trials) / hunt.num_grid_trials())
    truth = math.ceil(half)
    assert np.mean([best.low <= truth <= best.high for best in found]) > 0.83  # 95 % of 30, less three errors
    assert np.mean([math.log(best.size / truth) for best in found]) == pytest.approx(0, abs=0.05)
    assert np.mean([best.setting == 0 for best in found]) > 0.9
    assert np.mean(shares) < 0.25


@pytest.mark.long
@pytest.mark.parametrize(("half", "spread", "prior"), [(150.5, 0.1, 300), (600.5, 0.07, 300)])
def test_intervals_of_hundreds_of_searches_cover(half: float, spread: float, prior: float) -> None:
    """300 searches: 0.85 would be seen (three standard errors below the limit), 0.955 passes."""
    covered = []
    for number in range(300):
        hunt = search(prior, settings=1)
        play(hunt, functools.partial(succeeds, half, spread, np.random.default_rng(number)))
        best = hunt.found()
        assert best is not None
        covered.append(best.low <= math.ceil(half) <= best.high)
    assert np.mean(covered) > 0.915


@pytest.mark.parametrize("truth", [1, 2, 7, 23, 64, 1000])
def test_a_sharp_threshold_is_found_within_the_tolerance(truth: int) -> None:
    hunt = search(20)
    play(hunt, lambda trial: float(trial.size >= truth))
    found = hunt.found()
    assert found is not None
    assert abs(found.size - truth) <= max(1, 0.05 * truth) or found.low <= truth <= found.high
    assert found.size <= 1.06 * truth + 1


def test_what_never_succeeds_ends_at_the_largest_size_and_is_said() -> None:
    hunt = search(20, high=200)
    rounds = play(hunt, lambda trial: 0.0)
    found = hunt.found()
    assert found is not None
    assert max(trial.size for asked in rounds for trial in asked) == 200
    assert found.at_high


def test_failed_runs_are_no_failures_to_memorize() -> None:
    hunt = search(20)
    play(hunt, lambda trial: None if trial.seed == 1 else float(trial.size >= 30))
    found = hunt.found()
    assert found is not None
    assert 28 <= found.size <= 32
    dead = search(20)
    play(dead, lambda trial: None)
    assert dead.found() is None
