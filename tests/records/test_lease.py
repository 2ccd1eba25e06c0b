"""Locks are held by one live owner at a time; dead, silent and frozen owners lose them, whatever the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner, clock_s
from memcap.records.process_identity import is_gone, machine, this_process

HOLD = """
import sys, time
from pathlib import Path
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
outputs, lease_s = Path(sys.argv[1]), float(sys.argv[2])
lock = FolderLock(outputs / "run", Owner(outputs, renew_s=lease_s / 6, expires_s=lease_s))
assert lock.acquire()
print("held", flush=True)
for line in sys.stdin:
    print(lock.is_held(), flush=True)
"""
RACE = """
import os, sys, time
from pathlib import Path
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
outputs, number = Path(sys.argv[1]), int(sys.argv[2])
owner, log = Owner(outputs), os.open(outputs / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.stdin.readline()
for k in range(number):
    lock = FolderLock(outputs / f"run{k}", owner)
    while not (outputs / f"run{k}" / "done").exists():
        if lock.acquire():
            if not (outputs / f"run{k}" / "done").exists():
                os.write(log, f"{k} in {owner.token}\\n".encode())
                time.sleep(0.0005)
                os.write(log, f"{k} out {owner.token}\\n".encode())
                (outputs / f"run{k}" / "done").touch()
            lock.release()
owner.close()
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path) as mine:
        yield mine


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program with arguments; what still runs at the end is killed."""
    started = []

    def popen(program: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        )
        return started[-1]

    yield popen
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], asked: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    if asked:
        process.stdin.write(asked + "\n")
    return process.stdout.readline().strip()


def of_another(folder: Path, token: str = "0123456789abcdef", age_s: float = 0, **changes: Any) -> Path:
    """The file of an owner on another machine with this heartbeat, which holds ``run``; returns its lock."""
    (folder / "owners").mkdir(exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    path, lock = folder / "owners" / f"{token}.json", folder / "run" / ".lock"
    path.write_text(json.dumps({**this_process(), "host": "far", "machine": "far", "lease_s": 90, **changes}))
    os.utime(path, (time.time() - age_s,) * 2)
    lock.write_text(token)
    return lock


def test_one_owner_at_a_time(tmp_path: Path, owner: Owner) -> None:
    first, second = FolderLock(tmp_path / "a" / "run", owner), FolderLock(tmp_path / "a" / "run", owner)
    assert first.acquire()
    assert not second.acquire()
    with Owner(tmp_path) as other:
        assert not FolderLock(tmp_path / "a" / "run", other).acquire()
    first.release()
    assert not first.is_held()
    assert second.acquire()
    first.release()  # again: nothing of the second's
    assert not FolderLock(tmp_path / "a" / "run", owner).acquire()
    second.release()
    assert list((tmp_path / "a" / "run").iterdir()) == []


def test_a_lock_holds_no_descriptor(tmp_path: Path, owner: Owner) -> None:
    owner.start()
    before = len(os.listdir("/proc/self/fd"))
    locks = [FolderLock(tmp_path / str(k), owner) for k in range(100)]
    assert all(lock.acquire() for lock in locks)
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(list(owner.folder.iterdir())) == 1


def test_the_lock_of_a_killed_process_is_free_at_once(
    tmp_path: Path, owner: Owner, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(HOLD, tmp_path, 90)
    assert said(process) == "held"
    lock = FolderLock(tmp_path / "run", owner)
    assert not lock.acquire()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has waited for it
    time.sleep(1.1)  # a live owner is believed for a second
    assert lock.acquire()
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_a_frozen_process_loses_its_lock_and_finds_out(
    tmp_path: Path, owner: Owner, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(HOLD, tmp_path, 1.2)
    assert said(process) == "held"
    assert said(process, "?") == "True"
    process.send_signal(signal.SIGSTOP)
    lock, deadline = FolderLock(tmp_path / "run", owner), time.monotonic() + 20
    began = time.monotonic()
    while not lock.acquire():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert time.monotonic() - began > 0.9
    process.send_signal(signal.SIGCONT)
    assert said(process, "?") == "False"
    assert lock.is_held()


def test_a_frozen_process_that_nobody_succeeded_goes_on(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start(HOLD, tmp_path, 0.6)
    assert said(process) == "held"
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    process.send_signal(signal.SIGCONT)
    assert said(process, "?") == "True"


def test_of_processes_that_race_one_is_in(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Half of the locks are those of a dead owner."""
    number = 200
    for k in range(0, number, 2):
        (tmp_path / f"run{k}").mkdir()
        (tmp_path / f"run{k}" / ".lock").write_text("0123456789abcdef")
    racers = [start(RACE, tmp_path, number) for _ in range(8)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
    for racer in racers:
        assert racer.wait(60) == 0
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    for k in range(number):
        events = [(what, token) for run, what, token in lines if run == str(k)]
        assert [what for what, _ in events] == ["in", "out"]
        assert len({token for _, token in events}) == 1
        assert os.listdir(tmp_path / f"run{k}") == ["done"]
    assert list((tmp_path / "owners").iterdir()) == []


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


@pytest.mark.parametrize("content", ["", "0123", "../../etc/passwd", "0123456789ABCDEF"])
def test_a_torn_lock_is_held_for_a_lease(content: str, tmp_path: Path, owner: Owner) -> None:
    """Its owner was killed, or stands, between creating and writing it; an older memcap's is empty too."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / ".lock"
    path.write_text(content)
    lock = FolderLock(tmp_path / "run", owner)
    assert not lock.acquire()
    os.utime(path, (time.time() - 100,) * 2)
    assert lock.acquire()
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_a_successor_that_died_is_succeeded(tmp_path: Path, owner: Owner) -> None:
    lock = of_another(tmp_path, age_s=100)
    lock.with_name(".lock.0123456789abcdef").write_text("fedcba9876543210")  # of an owner without a file
    assert FolderLock(tmp_path / "run", owner).acquire()
    assert os.listdir(tmp_path / "run") == [".lock"]


def test_nobody_succeeds_where_a_successor_is_at_work(tmp_path: Path, owner: Owner) -> None:
    lock = of_another(tmp_path, age_s=100)
    with Owner(tmp_path) as other:
        other.start()
        lock.with_name(".lock.0123456789abcdef").write_text(other.token)
        assert not FolderLock(tmp_path / "run", owner).acquire()
        assert lock.read_text() == "0123456789abcdef"


def test_a_slow_successor_does_not_touch_the_lock_of_a_faster_one(
    tmp_path: Path, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, slow = of_another(tmp_path, age_s=100), FolderLock(tmp_path / "run", owner)
    with Owner(tmp_path) as other:
        fast, judge = FolderLock(tmp_path / "run", other), owner.is_dead

        def is_dead(token: str) -> bool:
            dead = judge(token)
            assert token != "0123456789abcdef" or fast.is_held() or fast.acquire()
            return dead

        monkeypatch.setattr(owner, "is_dead", is_dead)
        assert not slow.acquire()
        assert lock.read_text() == other.token
        assert fast.is_held()
        assert os.listdir(tmp_path / "run") == [".lock"]


def test_release_leaves_the_lock_of_a_successor(tmp_path: Path, owner: Owner) -> None:
    lock = FolderLock(tmp_path / "run", owner)
    assert lock.acquire()
    lock.path.write_text("0123456789abcdef")
    owner.lapses += 1
    lock.release()
    assert lock.path.read_text() == "0123456789abcdef"


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
