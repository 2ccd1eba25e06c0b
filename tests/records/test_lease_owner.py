"""Who is alive: an owner's file and its heartbeat, whatever the machine and its clock."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from lease_cases import of_another

from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner, clock_s
from memcap.records.process_identity import is_gone, machine


@pytest.mark.parametrize(
    ("age_s", "changes", "free"),
    [
        (0, {}, False),
        (80, {}, False),
        (100, {}, True),
        (100, {"lease_s": 200}, False),
        (20, {"lease_s": 10}, True),
        (-3600, {}, False),
        (0, {"pid": 2**22 + 1}, False),  # no such process here, which says nothing about another machine
        (0, {"machine": machine(), "pid": 2**22 + 1}, True),
        (0, {"machine": machine(), "start_ticks": 1}, True),  # the number is now another process's
        (0, {"machine": machine()}, False),
        (100, {"machine": machine()}, True),  # alive and silent: frozen
        (0, {"machine": machine(), "pid": "1", "lease_s": "x"}, False),
    ],
)
def test_who_is_dead(age_s: float, changes: dict[str, Any], free: bool, tmp_path: Path, owner: Owner) -> None:
    of_another(tmp_path, age_s=age_s, **changes)
    assert FolderLock(tmp_path / "run", owner).acquire() == free


def test_an_owner_without_a_file_is_dead(tmp_path: Path, owner: Owner) -> None:
    lock = of_another(tmp_path)
    (tmp_path / "owners" / "0123456789abcdef.json").unlink()
    assert FolderLock(tmp_path / "run", owner).acquire()
    assert lock.read_text() == owner.token


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_an_owner_file_that_is_not_one_has_a_heartbeat_still(
    content: str, tmp_path: Path, owner: Owner
) -> None:
    owner.start()
    of_another(tmp_path)
    path = tmp_path / "owners" / "0123456789abcdef.json"
    path.write_text(content)
    assert not FolderLock(tmp_path / "run", owner).acquire()
    os.utime(path, (time.time() - 100,) * 2)
    time.sleep(1.1)
    assert FolderLock(tmp_path / "run", owner).acquire()


@pytest.mark.parametrize("off_s", [3600, -3600])
def test_clocks_of_machines_may_differ(
    off_s: float, tmp_path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the file server's times are compared: a machine whose clock is an hour off judges as the others do."""
    of_another(tmp_path)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + off_s)
    assert not FolderLock(tmp_path / "run", owner).acquire()
    monkeypatch.undo()
    of_another(tmp_path, "a" * 16, age_s=100)
    monkeypatch.setattr(time, "time", lambda: real() + off_s)
    assert FolderLock(tmp_path / "run", owner).acquire()


def test_the_heartbeat_beats_and_ends(tmp_path: Path) -> None:
    with Owner(tmp_path, renew_s=0.02) as owner:
        owner.start()
        first = owner.path.stat().st_mtime_ns
        time.sleep(0.3)
        assert owner.path.stat().st_mtime_ns > first
        assert owner.lapses == 0
        record = json.loads(owner.path.read_text())
        assert (record["pid"], record["lease_s"]) == (os.getpid(), 90)
        assert not is_gone(record)
    assert list((tmp_path / "owners").iterdir()) == []
    time.sleep(0.1)
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_removed_heartbeat_is_a_lapse_and_comes_back(tmp_path: Path, owner: Owner) -> None:
    lock = FolderLock(tmp_path / "run", owner)
    assert lock.acquire()
    owner.path.unlink()
    owner.renew()
    assert owner.path.exists()
    assert owner.lapses == 1
    assert lock.is_held()


def test_outputs_that_were_removed_do_not_come_back(tmp_path: Path) -> None:
    with Owner(tmp_path / "outputs", renew_s=0.02) as owner:
        owner.start()
        owner.path.unlink()
        os.rename(tmp_path / "outputs", tmp_path / "moved")
        time.sleep(0.2)
        assert not (tmp_path / "outputs").exists()


def test_files_of_dead_owners_go(tmp_path: Path, owner: Owner) -> None:
    of_another(tmp_path, "a" * 16)
    of_another(tmp_path, "b" * 16, machine=machine(), pid=2**22 + 1)
    of_another(tmp_path, "c" * 16, age_s=100)  # of another machine: it may be back any moment
    of_another(tmp_path, "d" * 16, age_s=1000)
    owner.start()
    assert {path.stem for path in owner.folder.iterdir()} == {"a" * 16, "c" * 16, owner.token}


def test_holding_costs_no_file_access(tmp_path: Path, owner: Owner) -> None:
    lock = FolderLock(tmp_path / "run", owner)
    assert lock.acquire()
    lock.path.unlink()  # not seen, as long as the heartbeat was never late
    assert lock.is_held()
    owner._renewed_s = clock_s() - 31
    assert not lock.is_held()


def test_what_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "owners").touch()
    lock = FolderLock(tmp_path / "run", Owner(tmp_path))
    with pytest.raises(OSError, match="owners"):
        lock.acquire()
    assert not (tmp_path / "run").exists()
    lock.release()
