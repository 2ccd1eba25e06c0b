"""Failures stay with their run, and nothing finished is lost by trying again."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compositions import composed_config

from memcap import pack_recorder, study_run
from memcap.cells import train_cells
from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.engines.fused.engine import FusedEngine
from memcap.errors import BadInput
from memcap.interruption import Signals
from memcap.outcome import CellOutcome
from memcap.population import Population
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder

SMALL = ("data.num_samples=8", "model.width=3", "budget.steps=20", "measure.points=3", "tracking=disabled")
Train = Callable[..., list[CellOutcome]]


def cells(folder: Path, seeds: range, *overrides: str) -> list[Cell]:
    found = []
    for seed in seeds:
        own = (f"seed={seed}",)
        config = composed_config(*SMALL, *overrides, *own)
        paths = dataclasses.replace(config.paths, outputs=str(folder / "outputs"))
        config = dataclasses.replace(config, paths=paths, study="s")
        found.append(Cell(config, run_id(config), own))
    return found


def statuses(outcomes: list[CellOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def break_seeds(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: Exception) -> list[list[int]]:
    """Training a population with one of these seeds raises; returns the seeds of every population that starts."""
    started: list[list[int]] = []
    real = study_run.train_population

    def train(configs: Any, engine: Any, listener: Any, **more: Any) -> None:
        started.append([config.seed for config in configs])
        if broken & set(started[-1]):
            raise error
        real(configs, engine, listener, **more)

    monkeypatch.setattr(study_run, "train_population", train)
    return started


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


def test_measuring_again_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (full,) = cells(tmp_path, range(1))
    (light,) = cells(tmp_path, range(1), "measure=light", "measure.points=5")
    assert full.run_id == light.run_id
    train_cells([full])
    assert statuses(train_cells([light])) == ["finished"]  # more points: trained again, with what it had
    folder = RunFolder(tmp_path / "outputs", full.run_id)
    result = folder.read_result()
    assert result is not None
    assert result["config"]["measure"]["sharpness"] is True
    assert "sharpness/top_eigenvalue" in result["summary"]
    assert "initial_loss" in folder.read_arrays("samples")
    for cell in (full, light):  # and neither line trains any more
        assert statuses(train_cells([cell])) == ["skipped"]


def test_a_finished_run_stays_finished_when_measuring_it_again_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_cells(cells(tmp_path, range(1), "measure=light"))
    (full,) = cells(tmp_path, range(1))
    break_seeds(monkeypatch, {0}, ValueError("no"))
    for _ in range(2):
        assert statuses(train_cells([full])) == ["failed"]
        assert RunFolder(tmp_path / "outputs", full.run_id).state() == "finished"
    (outcome,) = train_cells([full])
    assert outcome.status == "skipped"
    assert outcome.summary["memory/bits"] > 0


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


def test_cells_that_are_one_run_train_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = cells(tmp_path, range(1))
    same = cells(tmp_path, range(1), "budget.loss_tolerance=0.5")
    outcomes = train_cells([*one, *same])
    assert statuses(outcomes) == ["finished", "finished"]
    assert "2 cells are 1 run:" in capsys.readouterr().err


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


def test_the_record_says_how_it_came_about(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, range(1))
    train_cells([cell])
    result = json.loads((RunFolder(tmp_path / "outputs", cell.run_id).path / "result.json").read_text())
    provenance = result["provenance"]
    assert (provenance["device"], provenance["engine"], provenance["population"]) == ("cpu", "fused", 1)
    assert provenance["threads"] >= 1
    assert provenance["wall_time_s"] > 0
    assert len(provenance["data_fingerprint"]) == 16
    assert provenance["packages"]["torch"]


def test_a_run_that_was_taken_over_is_left_to_its_new_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This process stands still in the middle; another one takes one run over, finishes it, and is waited for."""
    wanted = cells(tmp_path, range(3))
    train_cells(wanted[1:2])
    folder = RunFolder(tmp_path / "outputs", wanted[1].run_id)
    theirs = (folder.path / "result.json").read_bytes()
    (folder.path / "result.json").unlink()
    rows: list[int] = []
    real = RunFolder.append
    other = Owner(tmp_path / "outputs")

    def append(to: RunFolder, row: Any) -> None:
        real(to, row)
        if to.run_id == wanted[1].run_id:
            rows.append(row["train/step"])
            mine = to.path / ".lock"
            mine.unlink()
            assert FolderLock(to.path, other).acquire()
            # What the heartbeat's thread does when it wakes up.
            run.ledger.owner.lapses += 1

    def pause(seconds: float) -> None:
        (folder.path / "result.json").write_bytes(theirs)
        other.close()

    monkeypatch.setattr(RunFolder, "append", append)
    monkeypatch.setattr(study_run.time, "sleep", pause)
    run = study_run.StudyRun(wanted, axes=(), study="s", command="", signals=Signals())
    assert statuses(run.run()) == ["finished", "skipped", "finished"]
    assert rows == [0]
    assert f"{wanted[1].run_id}: taken over by another process" in capsys.readouterr().err
    assert (folder.path / "result.json").read_bytes() == theirs
    assert run.ledger.progress.done == run.ledger.progress.total
    assert len(StudyFolder(tmp_path / "outputs", "s").read_index()) == 3


def test_a_run_that_was_taken_over_gets_neither_result_nor_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell,) = cells(tmp_path, range(1))
    other = Owner(tmp_path / "outputs")

    def train(configs: Any, engine: Any, listener: Any, **more: Any) -> None:
        (lock,) = listener.locks.values()
        lock.path.unlink()
        assert FolderLock(lock.path.parent, other).acquire()
        listener.ledger.owner.lapses += 1
        raise ValueError("after it")

    def pause(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_run, "train_population", train)
    monkeypatch.setattr(study_run.time, "sleep", pause)
    with pytest.raises(KeyboardInterrupt):
        train_cells([cell])
    other.close()
    assert RunFolder(tmp_path / "outputs", cell.run_id).state() == "started"
