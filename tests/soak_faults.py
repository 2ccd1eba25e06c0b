"""What goes wrong in a soak: faults of processes, of jobs, of nodes and of the file system, one at a time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from slurm_cluster import SlurmCluster

from memcap.records import atomic

STUDY: Final = "soak"
WRITTEN_TO: Final = (
    "runs",
    "checkpoints",
    "owners",
)  # folders of outputs that are made read-only for a while
FILLING: Final = ".filling"  # beside outputs, on the same small disk
MOUNT_WAIT_S: Final = 3.0  # a folder in which a file is open for writing cannot be made read-only


class Faults:
    """Faults of a study that a cluster trains, drawn by a seeded generator.

    ``disk`` holds the folder ``outputs``, and is a small file system of its own where full and read-only disks are
    among the faults; ``submitter`` returns the process that submits at present.
    """

    def __init__(
        self, cluster: SlurmCluster, disk: Path, draw: random.Random, submitter: Callable[[], int | None]
    ) -> None:
        self.cluster, self.disk, self.draw, self.submitter = cluster, disk, draw, submitter
        self.outputs = disk / "outputs"
        self.kinds: dict[str, Callable[[], str | None]] = {
            "kill -9": self.kill,
            "requeue": self.requeue,
            "cancel": self.cancel,
            "node down": self.node_down,
            "controller restart": self.restart_controller,
        }
        if disk.is_mount():
            self.kinds |= {"disk full": self.fill, "read-only": self.make_read_only}

    def kill(self) -> str | None:
        """SIGKILL for a process that trains, or for one that submits."""
        targets = self.training() + [("submitter", pid) for pid in [self.submitter()] if pid is not None]
        if not targets:
            return None
        name, pid = self.draw.choice(targets)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return f"{name}, process {pid}"

    def requeue(self) -> str | None:
        """Half of the time Slurm takes the task up again at once, else after its pause."""
        job = self._any_job("RUNNING")
        if job is None or self._slurm("scontrol", "requeue", job) is None:
            return None
        if self.draw.random() < 0.5:
            return f"job {job}"
        self._slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
        return f"job {job}, taken up at once"

    def cancel(self) -> str | None:
        job = self._any_job("RUNNING", "PENDING")
        return None if job is None or self._slurm("scancel", job) is None else f"job {job}"

    def node_down(self) -> str | None:
        """A power cut, with whatever ran on the node."""
        running = self.jobs("RUNNING")
        nodes = sorted({node for _, _, node in running if node})
        if not nodes:
            return None
        node, pause_s = self.draw.choice(nodes), self.draw.uniform(0.2, 2)
        self.cluster.local_cluster("node", "down", node)
        time.sleep(pause_s)
        self.cluster.local_cluster("node", "up", node)
        return f"{node} for {pause_s:.1f} s, with {sum(job[2] == node for job in running)} tasks"

    def restart_controller(self) -> str | None:
        self.cluster.local_cluster("restart", "slurmctld")
        return "slurmctld"

    def fill(self) -> str | None:
        """No byte is left on the disk for a while."""
        if not self.jobs("RUNNING"):
            return None
        filling, pause_s = self.disk / FILLING, self.draw.uniform(0.5, 2)
        until = time.monotonic() + pause_s
        try:
            with open(filling, "ab", buffering=0) as file:
                while time.monotonic() < until:
                    with suppress(OSError):
                        while file.write(bytes(2**16)):
                            pass
                    time.sleep(0.01)  # what others have removed meanwhile is taken as well
        finally:
            filling.unlink()
        return f"for {pause_s:.1f} s"

    def make_read_only(self) -> str | None:
        """A folder of outputs cannot be written for a while."""
        if not self.jobs("RUNNING"):
            return None
        folder, pause_s = self.draw.choice(WRITTEN_TO), self.draw.uniform(0.5, 2)
        until = time.monotonic() + MOUNT_WAIT_S
        while not remounted(self.outputs / folder, "ro"):
            if time.monotonic() > until:
                return None
        time.sleep(pause_s)
        if not remounted(self.outputs / folder, "rw"):
            raise RuntimeError(f"{self.outputs / folder} stays read-only")
        return f"{folder} for {pause_s:.1f} s"

    # -- targets --------------------------------------------------------------------------------------

    def jobs(self, *states: str) -> list[tuple[str, str, str]]:
        """Id, state and node of the study's tasks in these states, or of all that are queued or running."""
        printed = self._slurm("squeue", "-h", "-r", "-o", "%i|%T|%N|%j") or ""
        jobs = [tuple(line.split("|")) for line in printed.splitlines()]
        own = [job for job in jobs if job[3].startswith(f"{STUDY}-")]
        return [(job, state, node) for job, state, node, _ in own if not states or state in states]

    def is_idle(self) -> bool:
        """Whether nothing of the study is queued or running; not where the controller does not answer."""
        return self._slurm("squeue", "-h", "-o", "%i") is not None and not self.jobs()

    def training(self) -> list[tuple[str, int]]:
        """Name and process id of the tasks that train at present."""
        found = []
        for path in sorted(self.outputs.glob(f"studies/{STUDY}/submissions/*/tasks/*.json")):
            state = atomic.read_json(path)
            if isinstance(state, dict) and state["state"] == "running" and _is_task(state["pid"]):
                found.append((f"task {path.parent.parent.name}.{path.stem}", int(state["pid"])))
        return found

    def _any_job(self, *states: str) -> str | None:
        jobs = self.jobs(*states)
        return self.draw.choice(jobs)[0] if jobs else None

    def _slurm(self, *command: str) -> str | None:
        """What one of Slurm's commands prints; None where it fails, as for a job that has just ended."""
        try:
            return self.cluster.run(*command)
        except subprocess.CalledProcessError:
            return None


@contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[bool]:
    """A file system in memory, with folders that can be read-only each; False without root."""
    folder.mkdir(parents=True)
    mounted = _did("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder))
    inner = [folder / "outputs" / name for name in WRITTEN_TO]
    try:
        for path in inner if mounted else []:
            path.mkdir(parents=True)
            subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
        yield mounted
    finally:
        for path in [*inner, folder] if mounted else []:
            _did("umount", "--lazy", str(path))


def remounted(folder: Path, mode: str) -> bool:
    """Whether a folder that is mounted on itself could be made read-only (``ro``) or writable (``rw``)."""
    return _did("mount", "-o", f"remount,bind,{mode}", str(folder))


def _did(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _is_task(pid: int) -> bool:
    try:
        return b"submitit" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
