"""A cluster of ``launch/slurm/local_cluster``, as tests see it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "launch" / "slurm" / "local_cluster"


@dataclass
class SlurmCluster:
    """One folder with one cluster."""

    state: Path
    up_seconds: float = field(default=float("nan"), init=False)

    def local_cluster(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *arguments, "--state", str(self.state)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        started = time.monotonic()
        ran = self.local_cluster("up", *arguments)
        self.up_seconds = time.monotonic() - started
        return ran

    @cached_property
    def env(self) -> dict[str, str]:
        """What ``local_cluster env`` exports."""
        lines = self.local_cluster("env").stdout.splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    @property
    def ports(self) -> list[int]:
        text = (self.state / "slurm.conf").read_text()
        return [int(port) for port in re.findall(r"Port=(\d+)", text)]

    def run(self, *command: str) -> str:
        """What one of Slurm's commands prints; CalledProcessError if it fails."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        environment.update(self.env)
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=self.state
        ).stdout

    def submit(self, script: str, *options: str) -> str:
        """The number of a new job that runs one line of shell."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, f"--wrap={script}").strip()

    def state_of(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED, ... as slurmctld has it."""
        return self.field_of(job, "JobState")

    def field_of(self, job: str, name: str) -> str:
        found = re.search(rf"\b{name}=(\S+)", self.run("scontrol", "show", "job", job))
        assert found is not None, f"job {job} has no {name}"
        return found[1]

    def wait_for(self, job: str, state: str, timeout_s: float = 30) -> None:
        """Until slurmctld says that a job is in a state."""
        wait_until(
            lambda: self.state_of(job) == state, timeout_s, lambda: f"{job} {self.state_of(job)} not {state}"
        )

    def accounted(self, job: str) -> list[str]:
        """The states of a job's elements in the accounting."""
        lines = self.run("sacct", "-X", "--noheader", "--parsable2", "--format=State", "-j", job).splitlines()
        return [line.split()[0] for line in lines]

    def wait_for_account(self, job: str, states: list[str], timeout_s: float = 30) -> None:
        """Until the accounting says that the elements of a job ended in these states."""
        wait_until(lambda: self.accounted(job) == states, timeout_s, lambda: f"{job} {self.accounted(job)}")


def wait_until(true: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, f"{otherwise()} after {timeout_s:.0f} s"
        time.sleep(0.1)
