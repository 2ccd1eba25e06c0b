"""One owner at a time, and none that outlives its process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memcap.records.run_lock import RunLock, allow_locks

HOLD = """
import sys, time
from pathlib import Path
from memcap.records.run_lock import RunLock
assert RunLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    first, second = RunLock(tmp_path / "run"), RunLock(tmp_path / "run")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    first.release()  # again: nothing of the second's
    assert not RunLock(tmp_path / "run").acquire()
    second.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_the_lock_goes_with_its_owner(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    lock = RunLock(tmp_path)
    assert not lock.acquire()
    process.kill()
    process.wait()
    process.stdout.close()
    assert lock.acquire()
    lock.release()


def test_a_lock_on_a_file_that_was_removed_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner removes the file between our opening and our locking it."""
    owner, late = RunLock(tmp_path), RunLock(tmp_path)
    assert owner.acquire()
    real, opened = os.open, []

    def open_slowly(path: object, *arguments: int) -> int:
        opened.append(real(path, *arguments))  # type: ignore[arg-type]
        if len(opened) == 1:
            owner.release()
        return opened[-1]

    monkeypatch.setattr(os, "open", open_slowly)
    assert late.acquire()
    assert len(opened) == 2
    monkeypatch.undo()
    assert not RunLock(tmp_path).acquire()
    late.release()


@pytest.fixture
def limit_as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("limit_as_before")
def test_the_limit_of_open_files_is_raised_as_far_as_it_goes() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_locks(200)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 712
    allow_locks(2**40)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
