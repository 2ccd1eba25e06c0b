"""What a process leaves that was killed when its run was finished already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memcap.records.folder_lock import FolderLock
from memcap.records.leftovers import remove_leftovers
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import result_record

RUN_ID = "3fa91b02c4d7"
NOTE = {"checkpoints": ["abc"], "forced": False}


def result(attempts: int) -> dict[str, Any]:
    return result_record(
        run_id=RUN_ID, status="finished", stop_reason="budget", steps=1, attempts=attempts, config={},
        summary={}, provenance={},
    )  # fmt: skip


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path) as mine:
        yield mine


@pytest.fixture
def killed(tmp_path: Path) -> RunFolder:
    """Its process died right after the result: locked, and with the note of its attempt."""
    folder = RunFolder(tmp_path, RUN_ID)
    folder.start({}, NOTE)
    note = (folder.path / "attempt.json").read_bytes()
    folder.finish(result(1))
    (folder.path / "attempt.json").write_bytes(note)
    (folder.path / ".lock").write_text("0" * 16)
    return folder


def names(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()}


def test_an_attempt_that_has_ended_names_no_checkpoint(killed: RunFolder) -> None:
    assert killed.unfinished() is None


def test_lock_and_note_go(killed: RunFolder, owner: Owner, tmp_path: Path) -> None:
    remove_leftovers(tmp_path, [RUN_ID, "000000000000"], owner)
    assert names(killed) == {"config.yaml", "history.jsonl", "result.json"}
    assert killed.attempts() == 1


def test_a_run_that_somebody_has_stays(killed: RunFolder, owner: Owner, tmp_path: Path) -> None:
    (killed.path / ".lock").unlink()
    with Owner(tmp_path) as other:
        lock = FolderLock(killed.path, other)
        assert lock.acquire()
        remove_leftovers(tmp_path, [RUN_ID], owner)
        assert names(killed) >= {".lock", "attempt.json"}
        assert lock.is_held()
        lock.release()


def test_a_forced_attempt_that_was_stopped_stays(killed: RunFolder, owner: Owner, tmp_path: Path) -> None:
    assert RunFolder(tmp_path, RUN_ID).start({}, NOTE) == 2
    remove_leftovers(tmp_path, [RUN_ID], owner)
    assert killed.unfinished() == {"attempts": 2, "failures": 0, **NOTE}
    assert ".lock" not in names(killed), "of a dead process"


def test_the_next_attempt_removes_halves_of_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, RUN_ID)
    folder.start({})
    (folder.path / ".result.json.0a1b2c3d.tmp").write_text("{")
    assert RunFolder(tmp_path, RUN_ID).start({}) == 2
    assert names(folder) == {"config.yaml", "history.jsonl", "attempt.json"}
