"""Cells into tasks: nothing lost, nothing twice, about as long as asked, populations side by side."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from pathlib import Path

import pytest
from compositions import composed_config, composed_values
from hypothesis import given
from hypothesis import strategies as st

from memcap.config.cell import Cell
from memcap.config.identity import population_key
from memcap.submission.calibration import measure_steps
from memcap.submission.cost import (
    CostModel,
    calibrated,
    family,
    note_point,
    operations,
    read_points,
)
from memcap.submission.plan import plan


def cell(width: int, samples: int, seed: int = 0, steps: int = 1000) -> Cell:
    overrides = (
        f"model.width={width}",
        f"data.num_samples={samples}",
        f"seed={seed}",
        f"budget.steps={steps}",
    )
    return Cell.from_values(composed_values(*overrides), overrides)


SWEEP = [cell(w, n, s) for w in (8, 16) for n in (50, 200, 100) for s in (0, 1)]
MODEL = CostModel([("cpu/float32/fused", 1e5, 1e-5), ("cpu/float32/batched", 1e5, 1e-4)])


@given(st.floats(0.01, 1e4))
def test_every_cell_is_in_one_task_and_no_task_is_empty(target: float) -> None:
    tasks = plan(SWEEP, MODEL, target_core_seconds=target)
    assert sorted(c.run_id for t in tasks for c in t.cells) == sorted(c.run_id for c in SWEEP)
    assert all(task.cells for task in tasks)
    for task in tasks:
        assert task.core_seconds == pytest.approx(sum(MODEL.seconds(c.config) for c in task.cells))
        assert task.core_seconds <= target or len(task.cells) == 1


def test_cells_of_a_population_stand_side_by_side_sorted_by_samples() -> None:
    (task,) = plan(SWEEP, MODEL, target_core_seconds=1e9)
    keys = [population_key(c.config) for c in task.cells]
    assert len([1 for a, b in itertools.pairwise(keys) if a != b]) == len(set(keys)) - 1
    first = [c.config.data.num_samples for c in task.cells if population_key(c.config) == keys[0]]
    assert first == sorted(first)  # type: ignore[type-var]


def test_members_share_the_cores_of_a_task() -> None:
    (task,) = plan(SWEEP, MODEL, target_core_seconds=1e9)
    assert task.wall_seconds(4) == pytest.approx(task.core_seconds / 4)
    assert task.wall_seconds(1000) == pytest.approx(task.core_seconds / len(SWEEP))


def test_the_model_goes_through_its_points_and_is_proportional_beyond_them() -> None:
    config = SWEEP[0].config
    count = operations(config)
    name = family(config)
    exact = CostModel([(name, count, 3e-5)])
    assert exact.step_seconds(config) == pytest.approx(3e-5)
    assert CostModel([(name, count / 2, 1e-5)]).step_seconds(config) == pytest.approx(2e-5)
    between = CostModel([(name, count / 4, 1e-5), (name, count * 4, 16e-5)]).step_seconds(config)
    assert between == pytest.approx(4e-5)
    assert exact.seconds(config) > 1000 * 3e-5


def test_a_family_without_a_point_is_guessed_by_its_engine() -> None:
    config = composed_config("hardware.engine=batched")
    assert family(config) == "cpu/float32/batched"
    assert CostModel().step_seconds(config) == pytest.approx(operations(config) / 4e9)


def test_what_was_noted_is_found_again_and_torn_lines_are_not(tmp_path: Path) -> None:
    config = SWEEP[0].config
    for seconds in (1e-5, 3e-5, 2e-5):
        note_point(tmp_path, config, seconds)
    with open(tmp_path / "costs.jsonl", "a") as file:
        file.write('{"family": "cpu')
    assert read_points(tmp_path) == [(family(config), operations(config), pytest.approx(2e-5))]
    model = calibrated(SWEEP, tmp_path)  # without a measurement: the family has a point
    assert model.points == {family(config): [(operations(config), pytest.approx(2e-5))]}
    note_point(tmp_path / "missing", config, 1.0)  # no folder: no loss


def test_a_measurement_is_near_what_training_takes() -> None:
    config = cell(32, 300).config
    unknown = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, device="meta"))
    none, seconds = measure_steps([unknown, config])  # what cannot be trained costs only itself
    assert none is None
    assert seconds is not None
    assert 1e7 < operations(config) / seconds < 1e13, "not the speed of a processor"


def test_a_measurement_that_takes_too_long_or_dies_is_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measure_steps([SWEEP[0].config], most_s=0.01) == [None]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert calibrated(SWEEP, tmp_path).points == {}
    assert not (tmp_path / "costs.jsonl").exists()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert measure_steps([SWEEP[0].config]) == [None]
