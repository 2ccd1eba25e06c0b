"""Daemons without systemd: started in the foreground of a session of their own, found again by pid files.

A pid alone proves nothing after a crash (it may be somebody else's by now), so every daemon carries two variables
in its environment that name the cluster and itself. Slurm's step managers inherit them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CLUSTER, DAEMON = "MEMCAP_LOCAL_CLUSTER", "MEMCAP_LOCAL_CLUSTER_DAEMON"


class ClusterError(Exception):
    """One line for the user: what is wrong, and what to do."""


class UnsuitableMachine(ClusterError):
    """The same, for what no second try can mend: packages, rights, a Slurm that is there already."""


@dataclass(frozen=True)
class Daemon:
    """One process of a cluster: its command line, and how to see that it serves."""

    state: Path
    name: str
    command: Sequence[str] = ()
    ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def pid_file(self) -> Path:
        return self.state / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.state / f"{self.name}.log"

    def pid(self) -> int | None:
        """Its process, if it lives: neither a zombie nor a stranger who got the number."""
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if alive(pid) and marks(pid) == (str(self.state), self.name) else None

    def start(self, timeout_s: float = 30) -> None:
        """Start it unless it lives, and wait until it serves; ClusterError with its last words if it ends."""
        if self.pid() is None:
            # Without what a job around this one has set: the daemons belong to no job.
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
            environment |= {**self.environment, CLUSTER: str(self.state), DAEMON: self.name}
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.state,
                    env=environment,
                    start_new_session=True,
                )
            self.pid_file.write_text(f"{process.pid}\n")
        self.wait(timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Until it serves."""
        end = time.monotonic() + timeout_s
        while not self.ready():
            self.check_lives()
            if time.monotonic() > end:
                raise ClusterError(f"{self.name} does not answer after {timeout_s:.0f} s, see {self.log}")
            time.sleep(0.05)

    def check_lives(self) -> None:
        """ClusterError with its last words if it has ended. A process just forked does not carry its marks yet."""
        if not alive(int(self.pid_file.read_text())):
            raise ClusterError(f"{self.name} ended at once: {self.last_words()} (all of it: {self.log})")

    def last_words(self) -> str:
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "fatal" in line.lower() or "error" in line.lower()]
        return (errors or lines or ["it said nothing"])[-1].strip()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not, and without an init that reaps them zombies stay."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def marks(pid: int) -> tuple[str, str]:
    """(cluster, daemon) that a process says it belongs to; empty strings for strangers."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return "", ""
    pairs = dict(entry.decode(errors="replace").partition("=")[::2] for entry in entries if entry)
    return pairs.get(CLUSTER, ""), pairs.get(DAEMON, "")


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def children() -> dict[int, list[int]]:
    """Every process's children."""
    found: dict[int, list[int]] = {}
    for pid in processes():
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.setdefault(parent, []).append(pid)
    return found


def family(state: Path, name: str | None = None) -> list[int]:
    """Living processes of a cluster (of one of its daemons), with the jobs that their step managers have started."""
    mine = [pid for pid in processes() if marks(pid)[0] == str(state) and name in (None, marks(pid)[1])]
    below, todo = children(), mine
    found: dict[int, None] = {}
    while todo:
        pid = todo.pop()
        if pid not in found:
            found[pid] = None
            todo.extend(below.get(pid, []))
    return [pid for pid in found if alive(pid) and pid != os.getpid()]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wait_for_end(pids: Iterable[int], timeout_s: float) -> list[int]:
    """Those that still live after the time."""
    end, left = time.monotonic() + timeout_s, list(pids)
    while (left := [pid for pid in left if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def stop(pid: int | None, timeout_s: float = 10) -> None:
    """SIGTERM, and SIGKILL if that does not end it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid is not None and alive(pid):
            send([pid], number)
            wait_for_end([pid], timeout_s)
