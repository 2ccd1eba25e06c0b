"""Failures stay with their run."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from study_run_cases import break_seeds, cells, statuses

from memcap import pack_recorder, study_run
from memcap.cells import train_cells
from memcap.engines.fused.engine import FusedEngine
from memcap.errors import BadInput
from memcap.population import Population
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder


def test_halves_find_the_run_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = break_seeds(monkeypatch, {5}, ValueError("no"))
    outcomes = train_cells(cells(tmp_path, range(8)))
    assert statuses(outcomes) == ["failed" if seed == 5 else "finished" for seed in range(8)]
    assert started == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]


def test_bad_input_while_training_is_the_failure_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_seeds(monkeypatch, {1}, BadInput("a part of one's own refuses"))
    outcomes = train_cells(cells(tmp_path, range(3)))
    assert statuses(outcomes) == ["finished", "failed", "finished"]
    assert "a part of one's own refuses" in (outcomes[1].error or "")
    study = StudyFolder(tmp_path / "outputs", "s")
    assert len(study.read()["cells"]) == 3
    assert len(study.read_index()) == 2


def test_a_failing_population_leaves_memory_before_its_halves_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[int] = []
    real = study_run.train_population

    def train(configs: Any, engine: Any, listener: Any, **more: Any) -> None:
        gc.collect()
        alive.append(sum(type(thing) is Population for thing in gc.get_objects()))
        population = Population(configs)
        if len(configs) > 1:
            raise MemoryError(f"{len(population)} are too many")
        real(configs, engine, listener, **more)

    monkeypatch.setattr(study_run, "train_population", train)
    assert statuses(train_cells(cells(tmp_path, range(4)))) == ["finished"] * 4
    assert alive == [alive[0]] * 7


def test_an_index_that_cannot_be_written_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = break_seeds(monkeypatch, set(), ValueError())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StudyFolder, "append_index", full)
    assert statuses(train_cells(cells(tmp_path, range(3)))) == ["finished"] * 3
    assert started == [[0, 1, 2]]
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert len(StudyFolder(tmp_path / "outputs", "s").rebuild_index()) == 3


def test_a_run_folder_that_cannot_be_written_fails_its_run_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cells(tmp_path, range(3))
    real = RunFolder.append

    def append(folder: RunFolder, row: Any) -> None:
        if folder.run_id == wanted[1].run_id:
            raise OSError(28, "No space left on device")
        real(folder, row)

    monkeypatch.setattr(RunFolder, "append", append)
    outcomes = train_cells(wanted)
    assert statuses(outcomes) == ["finished", "failed", "finished"]
    assert "No space left on device" in (outcomes[1].error or "")


def test_a_run_that_failed_already_can_break_the_training_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(folder: RunFolder, row: Any) -> None:
        raise OSError(28, "No space left on device")

    def train(configs: Any, engine: Any, listener: Any, **more: Any) -> None:
        listener.on_row(0, {"train/step": 0})
        raise ValueError("after it")

    monkeypatch.setattr(RunFolder, "append", append)
    monkeypatch.setattr(study_run, "train_population", train)
    outcomes = train_cells(cells(tmp_path, range(2), "hardware.max_members=1"))
    assert statuses(outcomes) == ["failed", "failed"]
    assert "No space left on device" in (outcomes[0].error or "")


def test_a_kill_does_not_reset_the_count_of_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cells(tmp_path, range(1))
    folder = RunFolder(tmp_path / "outputs", cell.run_id)
    break_seeds(monkeypatch, {0}, ValueError("no"))
    train_cells([cell])
    assert folder.failures() == 1
    folder.start(cell.config.to_dict())  # the next attempt, killed before it could say anything
    assert folder.read_failure() is None
    assert folder.failures() == 1
    train_cells([cell])
    assert folder.failures() == 2


def test_fail_fast_counts_the_failures_of_this_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("fail_fast=true", "max_attempts=1", "hardware.max_members=1")
    started = break_seeds(monkeypatch, {0}, ValueError("no"))
    assert statuses(train_cells(cells(tmp_path, range(3), *options))) == [
        "failed",
        "interrupted",
        "interrupted",
    ]
    # Seed 0 is given up; that is no reason to stop again.
    assert statuses(train_cells(cells(tmp_path, range(3), *options))) == ["failed", "finished", "finished"]
    assert started == [[0], [1], [2]]


def test_a_run_that_fails_in_a_pack_of_one_closes_its_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[dict[str, Any], int]] = []
    monkeypatch.setattr(
        pack_recorder.WandbRun, "finish", lambda _, summary, code: ended.append((dict(summary), code))
    )
    break_seeds(monkeypatch, {0}, ValueError("no"))
    train_cells(cells(tmp_path, range(1)))
    assert ended == [({"status": "failed"}, 1)]


def test_an_engine_that_cannot_be_built_is_no_failure_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(configs: Any) -> None:
        raise RuntimeError("no registers")

    monkeypatch.setattr(FusedEngine, "prepared", prepared)
    with pytest.raises(BadInput, match=r"hardware.engine=fused cannot be had: RuntimeError: no registers"):
        train_cells(cells(tmp_path, range(2), "hardware.engine=fused"))
    assert not list(tmp_path.iterdir())
    assert statuses(train_cells(cells(tmp_path, range(2)))) == ["finished", "finished"]
