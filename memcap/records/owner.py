"""An owner of locks: a process that says every few seconds that it lives, in ``outputs/owners/<token>.json``.

However many locks a process holds, it has one heartbeat: the time of last change of this file, renewed by a thread.
An owner is dead when its process has ended (seen at once on its own machine), when its file is gone, or when its
heartbeat is older than its lease: so it also ends on machines that crash, and behind networks that break.

All times of files are those of the file server. An observer compares a heartbeat with that of its own file, which it
renews first, so clocks of machines may differ as they like.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from memcap.records import atomic
from memcap.records.process_identity import is_gone, this_process

LEASE_RENEW_S: Final = 15.0
LEASE_EXPIRES_S: Final = 90.0  # beyond what NFS clients keep attributes for (60 s) and one renewal
_BELIEVED_S: Final = 1.0  # for so long an owner that was seen alive is not looked at again
_FORGOTTEN: Final = 10  # leases after which the file of a silent owner of another machine is removed
# Goes on while a laptop sleeps, unlike time.monotonic.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


class Owner:
    """This process as an owner of locks below ``outputs``; it starts with its first lock and ends with ``close``.

    ``lapses`` counts how often its heartbeat has been late, by more than a third of its lease, or its file was gone:
    whoever holds a lock looks at it again when the count has risen, since others may have taken the lock over.
    A thread that renews is stopped with the process, as a heartbeat has to be.
    """

    def __init__(
        self, outputs: Path, *, renew_s: float = LEASE_RENEW_S, expires_s: float = LEASE_EXPIRES_S
    ) -> None:
        self.token = secrets.token_hex(8)
        self.folder = Path(outputs).absolute() / "owners"
        self.path = self.folder / f"{self.token}.json"
        self.renew_s, self.expires_s, self.late_s = renew_s, expires_s, expires_s / 3
        self.lapses = 0
        self._renewed_s = self._heartbeat_s = math.inf  # by this machine's clock, by the file server's
        self._believed: dict[str, float] = {}
        self._renewing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Writes the heartbeat and begins to renew it; nothing where that has happened. Raises OSError."""
        if self._thread is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        self._renewed_s, self._heartbeat_s = clock_s(), os.stat(self.path).st_mtime
        self._remove_forgotten()
        self._stop.clear()
        self._thread = threading.Thread(target=self._renew_always, name="memcap-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the heartbeat: what is still locked is free from now on. A later ``start`` begins anew."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(timeout=self.renew_s)  # it may hang in a file system that does
        self._thread = None
        with suppress(OSError):
            self.path.unlink()

    def renew(self) -> float:
        """Renews the heartbeat and returns the present time of the file server, in s. Raises OSError."""
        with self._renewing:
            now_s = clock_s()
            try:
                os.utime(self.path)  # without a time: over NFS the server's clock is asked
            except FileNotFoundError:
                self.lapses += 1
                self.folder.mkdir(
                    exist_ok=True
                )  # without its parents: outputs may have been removed on purpose
                self._write()
            heartbeat_s = os.stat(self.path).st_mtime
            if max(now_s - self._renewed_s, heartbeat_s - self._heartbeat_s) > self.late_s:
                self.lapses += 1  # before the time is set: from then on is_late() says no
            self._renewed_s, self._heartbeat_s = now_s, heartbeat_s
            return heartbeat_s

    def is_late(self) -> bool:
        """Whether the last renewal is so long ago that others may soon think this owner dead. Opens no file."""
        return clock_s() - self._renewed_s > self.late_s

    def is_dead(self, token: str) -> bool:
        """Whether the owner with this token has ended or has been silent for longer than its lease."""
        if token == self.token or clock_s() < self._believed.get(token, -math.inf):
            return False
        found = self._read(self.folder / f"{token}.json")
        if found is None:
            return True
        heartbeat_s, record = found
        if is_gone(record) or self.renew() - heartbeat_s > self._lease_s(record):
            return True
        self._believed[token] = clock_s() + _BELIEVED_S
        return False

    def is_old(self, path: Path) -> bool:
        """Whether a file has not changed for a lease; not where it is gone."""
        try:
            return self.renew() - os.stat(path).st_mtime > self.expires_s
        except FileNotFoundError:
            return False

    def _write(self) -> None:
        atomic.write_json(self.path, {**this_process(), "lease_s": self.expires_s}, survives="kill")

    def _read(self, path: Path) -> tuple[float, dict[str, Any]] | None:
        """The heartbeat in s and what the owner says of itself; None where there is no such owner."""
        try:
            with open(path, "rb") as file:  # opened before its time is asked for: then NFS asks the server
                heartbeat_s = os.fstat(file.fileno()).st_mtime
                record = json.loads(file.read())
        except FileNotFoundError:
            return None
        except PermissionError:  # a colleague's, whose umask lets nobody read
            return os.stat(path).st_mtime, {}
        except ValueError:
            return heartbeat_s, {}
        return heartbeat_s, record if isinstance(record, dict) else {}

    def _lease_s(self, record: dict[str, Any]) -> float:
        lease_s = record.get("lease_s")
        return float(lease_s) if isinstance(lease_s, int | float) else self.expires_s

    def _remove_forgotten(self) -> None:
        """Removes files of owners that have ended without ``close``: those known to be gone, and very old ones."""
        for path in self.folder.glob("*.json"):
            with suppress(OSError):
                if path != self.path and (found := self._read(path)) is not None:
                    age_s = self._heartbeat_s - found[0]
                    if is_gone(found[1]) or age_s > _FORGOTTEN * self._lease_s(found[1]):
                        path.unlink()

    def _renew_always(self) -> None:
        while not self._stop.wait(self.renew_s):
            with suppress(OSError):  # a late heartbeat shows itself
                self.renew()


def seems_alive(outputs: Path, token: str) -> bool:
    """Whether an owner lives, as far as one can tell without writing anything: for pages, not for taking locks.

    The heartbeat is compared with this machine's clock, so one of another machine may err by what the clocks differ.
    """
    path = Path(outputs) / "owners" / f"{token}.json"
    try:
        record = json.loads(path.read_bytes())
        age_s = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return False
    except (OSError, ValueError):  # a colleague's, or written at this moment
        return True
    return not is_gone(record) and age_s <= float(record.get("lease_s", LEASE_EXPIRES_S))


def clock_s() -> float:
    """Seconds that pass on this machine, those in which it sleeps included."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
