"""The lock of a folder: of several processes that want one run, on whatever machines, one trains it.

``<folder>/.lock`` holds the token of its owner (``records.owner``). It is created with O_EXCL, which is atomic also
over NFS, needs no lock server, no open descriptor, and nothing to be renewed per lock.

A dead owner is succeeded so that exactly one of several waiting processes gets the lock: who creates
``.lock.<dead token>`` may rename it over ``.lock``, if that is still the dead one's. The path is never free meanwhile,
so nobody can get in between, and a successor that dies as well is succeeded in the same way.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from memcap.records.owner import Owner, seems_alive

_TOKEN: Final = re.compile(r"[0-9a-f]{16}")


class FolderLock:
    """A lock on ``<folder>/.lock`` for as long as its owner lives. Any method can raise ``OSError``.

    An owner that stood still for longer than its lease (SIGSTOP, a laptop's lid, a network that hung) has lost it
    without knowing: whoever holds the lock asks ``is_held`` before it writes.
    """

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.path = folder / ".lock"
        self.owner = owner
        self._lapses: int | None = (
            None  # of the owner, when the lock was last seen to be ours; None: not held
        )

    def acquire(self) -> bool:
        """Takes the lock and creates its folder; False at once if another owner, or this one, has it."""
        self.owner.start()
        lapses = self.owner.lapses
        if not self._take(self.path):
            return False
        self._lapses = lapses
        return True

    def is_held(self) -> bool:
        """Whether the lock is still ours; reads its file only if the owner's heartbeat has been late since."""
        if self._lapses is None:
            return False
        if self._lapses == self.owner.lapses and not self.owner.is_late():
            return True
        with suppress(OSError):
            self.owner.renew()  # first, so that nobody begins to take it over from now on
        lapses = self.owner.lapses
        if _holder(self.path) != self.owner.token:
            self._lapses = None
            return False
        self._lapses = lapses
        return True

    def release(self) -> None:
        """Gives the lock back and removes its file; nothing where it is not held."""
        with suppress(OSError):
            if self.is_held():
                self.path.unlink()
        self._lapses = None

    def _take(self, path: Path) -> bool:
        while not self._create(path):
            holder = _holder(path)
            if holder is None:  # released a moment ago
                continue
            if not self._is_dead(holder, path):
                return False
            succession = path.with_name(f"{path.name}.{holder or 'torn'}")
            if not self._take(succession):
                return False
            # From here on nobody else may succeed this holder; somebody may have done so a moment before.
            if _holder(path) == holder and self._is_dead(holder, path):
                os.replace(succession, path)
                return True
            succession.unlink(missing_ok=True)
        return True

    def _is_dead(self, holder: str, path: Path) -> bool:
        return self.owner.is_dead(holder) if holder else self.owner.is_old(path)

    def _create(self, path: Path) -> bool:
        """Whether the file could be created, with the owner's token in it; not where there is one."""
        try:
            descriptor = _open_new(path)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, self.owner.token.encode())
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        return True


def seems_held(folder: Path, outputs: Path) -> bool:
    """Whether a living process has the lock of a folder, as far as one can tell without writing anything."""
    holder = _holder(folder / ".lock")
    return bool(holder) and seems_alive(outputs, str(holder))


def _open_new(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def _holder(path: Path) -> str | None:
    """The token in a lock's file; empty where its owner has not written it (yet), None where there is no file."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # NFS: removed between looking it up and reading it
            return None
        raise
    return text if _TOKEN.fullmatch(text) else ""
