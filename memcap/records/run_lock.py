"""The lock of a run folder: of several processes that are asked for one run, one trains it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class RunLock:
    """A lock on ``<run folder>/.lock`` that the system releases when its owner dies, however it dies.

    It is an advisory lock of the operating system (flock), so it holds between processes of one machine, and
    over a network file system where that supports it. Without such locks (Windows) everybody gets it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock and creates its folder; False at once if another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _lock(descriptor):
                    os.close(descriptor)
                    return False
                # The owner before us removes the file: what we have locked may no longer be the one in the folder.
                if os.fstat(descriptor).st_ino == os.stat(self.path).st_ino:
                    self._descriptor = descriptor
                    return True
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def held(self) -> bool:
        """Whether a living process has it; takes nothing and makes no file."""
        try:
            import fcntl

            with open(self.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (OSError, ImportError):
            pass
        return False

    def release(self) -> None:
        """Gives the lock back and removes its file; nothing where it is not held."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def allow_locks(number: int) -> None:
    """Raises this process's limit of open files, as far as it may, so that it can hold so many locks at once."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = number + 512 if hard == resource.RLIM_INFINITY else min(number + 512, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
