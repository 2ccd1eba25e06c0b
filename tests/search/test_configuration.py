"""From a search to its confirmation on fresh seeds and with doubled budgets; all configurations together."""

from __future__ import annotations

import numpy as np
import pytest
from search_cases import Jamming

from memcap.search.configuration import ConfigurationSearch, Told, advance_together
from memcap.search.lattice import Lattice
from memcap.search.peak import PeakSearch
from memcap.search.threshold import ThresholdSearch
from memcap.search.trial import Trial

FRESH = range(1000, 1004)


def configuration(prior: float = 100, **keys: int | float) -> ConfigurationSearch:
    look = PeakSearch(Lattice(prior, 0.05, 1, 10**6), range(2), range(4))
    return ConfigurationSearch(look, FRESH, **keys)  # type: ignore[arg-type]


def run(searches: list[ConfigurationSearch], told: list[object]) -> list[list[tuple[int, Trial]]]:
    batches = []
    for batch in advance_together(searches):
        batches.append(batch)
        for number, trial in batch:
            searches[number].tell({trial: told[number](trial)})  # type: ignore[operator]
    return batches


def bits(trial: Trial, growth: float = 0.0) -> Told:
    return Told(
        Jamming(150, noise=0.0).mean(trial.size) * (1 + growth) ** trial.doublings, 100 * 2**trial.doublings
    )


def test_fresh_seeds_are_run_at_the_chosen_place_only() -> None:
    search = configuration()
    batches = run([search], [bits])
    found = search.found
    assert found is not None
    last = [trial for _, trial in batches[-1]]
    assert last == [Trial(found.size, found.setting, seed) for seed in FRESH]
    assert not {trial.seed for batch in batches[:-1] for _, trial in batch} & set(FRESH)
    assert search.search.evidence.values.keys().isdisjoint(last)
    assert [told.value for told in search.fresh().values()] == [bits(last[0]).value] * 4


def test_configurations_advance_together() -> None:
    one, two = configuration(100), configuration(3)
    batches = run([one, two], [bits, bits])
    assert {number for number, _ in batches[0]} == {0, 1}
    assert len(batches) == max(one.num_rounds, two.num_rounds)
    assert two.found is not None
    alone = configuration(100)
    run([alone], [bits])
    assert alone.found == one.found


@pytest.mark.parametrize(("growth", "doublings"), [(0.0, 1), (0.015, 1), (0.1, 3)])
def test_steps_are_doubled_until_that_gains_too_little(growth: float, doublings: int) -> None:
    search = configuration(budget_doublings=3, budget_tolerance=0.02)
    run([search], [lambda trial: bits(trial, growth)])
    assert max(trial.doublings for trial in search.told) == doublings
    assert search.gain(doublings) == pytest.approx((growth, growth, growth))
    assert search.is_settled(doublings) == (growth < 0.02)


def test_a_gain_is_settled_by_its_upper_end_and_has_the_interval_of_a_ratio() -> None:
    """Seeds gain 0 to 3 %: the mean is below the tolerance, its interval is not."""
    search = configuration(budget_doublings=2, budget_tolerance=0.02)
    gains = dict(zip(FRESH, (0.0, 0.005, 0.01, 0.03), strict=True))

    def value(trial: Trial) -> Told:
        return bits(trial, gains.get(trial.seed, 0.0))

    run([search], [value])
    gain = search.gain(1)
    assert gain is not None
    assert gain.high is not None
    half = (
        3.182446 * np.std(list(gains.values()), ddof=1) / 2
    )  # Student's t with 3 degrees of freedom, 4 seeds
    assert (gain.value, gain.high - gain.value) == pytest.approx((0.01125, half), rel=1e-6)
    assert not search.is_settled(1)
    assert max(trial.doublings for trial in search.told) == 2, "what is not settled is doubled again"


def test_a_threshold_is_confirmed_at_both_ends_of_its_step() -> None:
    look = ThresholdSearch(Lattice(20, 0.05, 1, 1000), range(1), range(4))
    search = ConfigurationSearch(look, FRESH, confirms_below=True)
    run([search], [lambda trial: Told(float(trial.size >= 31), 10)])
    assert search.found is not None
    assert [t.value for t in search.fresh().values()] == [1.0] * 4
    assert len(search.fresh(size=search.found.size - 1)) == 4


def test_a_configuration_without_any_value_ends_and_leaves_the_others_alone() -> None:
    dead, alive = configuration(), configuration()
    run([dead, alive], [lambda trial: Told(None), bits])
    assert dead.found is None
    assert alive.found is not None
