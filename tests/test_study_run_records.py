"""Nothing finished is lost by trying again or by another process that takes over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_run_cases import break_seeds, cells, statuses

from memcap import study_run
from memcap.cells import train_cells
from memcap.interruption import Signals
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder


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


def test_cells_that_are_one_run_train_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = cells(tmp_path, range(1))
    same = cells(tmp_path, range(1), "budget.loss_tolerance=0.5")
    outcomes = train_cells([*one, *same])
    assert statuses(outcomes) == ["finished", "finished"]
    assert "2 cells are 1 run:" in capsys.readouterr().err


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
