"""Locks are held by one live owner at a time; dead, silent and frozen owners lose them to one successor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lease_cases import of_another

from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner

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
