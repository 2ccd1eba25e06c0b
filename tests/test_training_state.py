"""What is saved of a training is all that it depends on: restored, it is the same object in every bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from population_cases import Recorder, small_config, train
from torch import Tensor

from memcap import training as module
from memcap.engines import BatchedEngine
from memcap.training import Pace, Training, events, train_population

COMMON = ("measure=everything", "budget.steps=40", "budget.check_every=10", "measure.spectrum=false")
MEMBERS = (("seed=0",), ("seed=1", "data.num_samples=9"), ("seed=2", "data.num_samples=11"))


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, Tensor):
        return found.dtype == expected.dtype and torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    return bool(found == expected)


@pytest.fixture(scope="module")
def trained() -> Training:
    """A training in its middle, whose longest member has left."""
    training = Training([small_config(*COMMON, *own) for own in MEMBERS])
    for step in (0, 10, 20):
        BatchedEngine().advance(training.population, step - training.population.step)
        training.observer.observe(training.population)
        training.monitor.check(training.population)
    training.keep([1, 2])
    return training


def test_a_restored_training_is_the_same(trained: Training) -> None:
    saved = trained.saved()
    assert saved["population"]["slots"]["training"] == [14, True]  # the longest one's, who has left
    assert saved["monitor"]["since_best_M"].shape == (2,)
    restored = Training.restored(trained.population.configs, saved)
    assert same(restored.saved(), saved)
    fresh = Training(trained.population.configs).saved()
    for part in ("monitor", "observer", "population"):
        assert not same(fresh[part], saved[part])


def test_its_samples_are_padded_as_before(trained: Training) -> None:
    restored = Training.restored(trained.population.configs, trained.saved()).population
    sets = {"training": trained.population.training_set, **trained.population.evaluation_sets}
    for name, batch in {"training": restored.training_set, **restored.evaluation_sets}.items():
        for field in ("inputs_MND", "targets", "counts_M", "mask_MN"):
            mine, theirs = getattr(batch, field), getattr(sets[name], field)
            assert (mine is None and theirs is None) or torch.equal(mine, theirs), (name, field)


def test_it_shares_no_memory_with_what_was_saved(trained: Training) -> None:
    saved = trained.saved()
    before = saved["population"]["parameters_MP"].clone()
    restored = Training.restored(trained.population.configs, saved)
    BatchedEngine().advance(restored.population, 3)
    assert torch.equal(saved["population"]["parameters_MP"], before)


def test_other_members_are_refused(trained: Training) -> None:
    with pytest.raises(ValueError, match="another shape"):
        Training.restored(trained.population.configs[:1], trained.saved())
    longer = [small_config(*COMMON, "data.num_samples=15"), small_config(*COMMON)]
    with pytest.raises(ValueError, match="its samples have 14 places, not the 15 there are"):
        Training.restored(longer, trained.saved())


def test_a_look_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [small_config("measure=light", "budget.steps=40", *own) for own in MEMBERS]
    whole, pieces, looked = train(configs), Recorder(), []
    monkeypatch.setattr(module, "LOOK_UP_S", 0.0)
    train_population(
        configs, BatchedEngine(), pieces, at_rest=lambda training: looked.append(training.population.step)
    )
    assert looked == list(range(40))
    assert repr(pieces.rows) == repr(whole.rows)
    assert pieces.trained == whole.trained


def test_pace_finds_about_half_a_second() -> None:
    pace = Pace()
    for _ in range(40):
        pace.note(pace.steps, pace.steps * 1e-3)
    assert 0.25 <= pace.steps * 1e-3 <= 0.5
    pace.note(3, 3e-3)  # a measurement point was near
    assert 0.25 <= pace.steps * 1e-3 <= 0.5
    for _ in range(20):
        pace.note(pace.steps, 60.0)
    assert pace.steps == 1


@pytest.mark.parametrize("after", [0, 1, 6, 7, 8, 14, 19])
def test_events_after_a_step_are_those_that_are_left(after: int) -> None:
    budget, measured = small_config("budget.steps=20", "budget.check_every=7").budget, {0, 1, 8, 20}
    left = [event for event in events(measured, budget) if event[0] > after]
    assert list(events(measured, budget, after=after)) == left
