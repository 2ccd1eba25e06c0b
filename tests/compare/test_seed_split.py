"""Seeds that choose and seeds that measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from memcap.compare.seed_split import best_option, measure_chosen


def test_halves_measure_what_the_other_half_chooses() -> None:
    # Even places like option 1, odd places option 0: each is measured where it is bad.
    values_SO = np.array([[1.0, 5.0], [6.0, 2.0], [1.5, 5.5], [6.5, 2.5]])
    measured = measure_chosen(values_SO)
    assert measured.how == "cross_fitted"
    assert measured.options_F == (1, 0)
    assert measured.rows_S.tolist() == [0, 1, 2, 3]
    assert measured.values_S.tolist() == [1.0, 2.0, 1.5, 2.5]


def test_given_seeds_choose_and_the_others_measure() -> None:
    values_SO = np.array([[1.0, 5.0], [6.0, 2.0], [1.5, 5.5]])
    measured = measure_chosen(values_SO, np.array([True, False, False]))
    assert (measured.how, measured.options_F) == ("given", (1,))
    assert measured.values_S.tolist() == [2.0, 5.5]


def test_seeds_at_one_option_only_confirm_it() -> None:
    values_SO = np.full((4, 3), np.nan)
    values_SO[:2] = [[1, 9, 2], [2, 8, 1]]
    values_SO[2:, 1] = [6, 7]
    measured = measure_chosen(values_SO)
    assert measured.how == "confirmed"
    assert measured.values_S.tolist() == [6, 7]


def test_an_interrupted_sweep_confirms_nothing() -> None:
    values_SO = np.full((4, 3), np.nan)
    values_SO[:2] = [[1, 9, 2], [2, 8, 1]]
    values_SO[2:, 0] = [6, 7]  # where the others found little
    assert measure_chosen(values_SO).how == "cross_fitted"


def test_one_seed_and_one_option() -> None:
    assert measure_chosen(np.array([[1.0, 3.0]])).how == "one_seed"
    assert measure_chosen(np.array([[1.0, 3.0]])).values_S.tolist() == [3.0]
    alone = measure_chosen(np.array([[1.0], [np.nan], [2.0]]))
    assert (alone.how, alone.values_S.tolist()) == ("no_choice", [1.0, 2.0])


def test_one_lucky_seed_is_not_chosen() -> None:
    values_SO = np.array([[1.0, 9.0], [1.0, np.nan], [1.0, np.nan]])
    assert best_option(values_SO) == 0
    assert best_option(np.full((2, 2), np.nan)) == -1


@pytest.mark.parametrize(("curve", "least"), [("sharp", 0.93), ("flat", 0.90)])
def test_the_interval_covers_and_the_mean_is_not_biased_upward(curve: str, least: float) -> None:
    """1,500 studies of six seeds: the t interval covers the mean of what was chosen; a maximum of means would not."""
    mean_O = np.array([60.0, 80, 100, 70, 50]) if curve == "sharp" else np.full(12, 100.0)
    generator = np.random.default_rng(0)
    covered, means, in_sample = [], [], []
    for _ in range(1500):
        values_SO = mean_O + 5 * generator.standard_normal((6, len(mean_O)))
        values = measure_chosen(values_SO).values_S
        half = stdtrit(5, 0.975) * values.std(ddof=1) / np.sqrt(6)
        covered.append(abs(values.mean() - 100) <= half)
        means.append(values.mean())
        in_sample.append(values_SO.mean(0).max())
    assert least <= np.mean(covered) <= 0.98
    assert np.mean(means) == pytest.approx(100, abs=0.25)
    assert (np.mean(in_sample) > 102) == (curve == "flat")


@given(st.integers(2, 7), st.integers(1, 5), st.integers(0, 10_000), st.floats(0, 0.5))
def test_every_value_is_one_of_its_own_seed(seeds: int, options: int, draw: int, gaps: float) -> None:
    generator = np.random.default_rng(draw)
    values_SO = generator.standard_normal((seeds, options))
    values_SO[generator.random(values_SO.shape) < gaps] = np.nan
    measured = measure_chosen(values_SO)
    assert len(set(measured.rows_S.tolist())) == len(measured.rows_S)
    assert (measured.values_S == values_SO[measured.rows_S, measured.options_S]).all()
