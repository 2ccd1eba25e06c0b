"""The soak: a study on Slurm with a fault every few seconds leaves the records of an undisturbed study, bit for bit.

    python tests/slurm/soak.py --runs 200 --faults 100 --seed 0

Trains a study in one process; trains it again as tasks of a local cluster, kills, cancels, requeues, cuts power, fills
the disk meanwhile, gives the same command again (or memcap.resume, in turn) whenever nothing is queued or running;
compares. Faults are drawn by a seeded generator and paced by what is finished, so that the last one falls before the
last run. Full and read-only disks need root (mount). Exit status 0 if all is equal and all faults were had.
"""

from __future__ import annotations

import argparse
import getpass
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from slurm_cluster import SlurmCluster
from soak_comparison import attempts, differences, left_behind, resumed
from soak_faults import STUDY, Faults, small_disk

CELLS_A_SEED: Final = 4
LAST_FAULT_AT: Final = 0.85  # of all runs finished
LEFT_BEHIND_S: Final = 20.0
HAS_RESUME: Final = (Path(__file__).parents[2] / "memcap" / "resume.py").exists()


class Soak:
    """One study, undisturbed in ``folder/undisturbed`` and disturbed in ``folder/disturbed``."""

    def __init__(self, cluster: SlurmCluster, folder: Path, options: argparse.Namespace) -> None:
        self.cluster, self.folder, self.options = cluster, folder, options
        self.undisturbed, self.disturbed = folder / "undisturbed", folder / "disturbed"
        self.draw = random.Random(options.seed)
        self.submitter: subprocess.Popen[bytes] | None = None
        self.submissions = 0
        self.had: Counter[str] = Counter()
        self.started = time.monotonic()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")} | cluster.env

    def run(self) -> list[str]:
        """Both studies; the lines of what differs."""
        self.say("the undisturbed study")
        self.undisturbed.mkdir()
        self.train(self.undisturbed)
        with small_disk(self.disturbed, self.options.disk_mib) as has_disk:
            self.say(
                "the disturbed study" + ("" if has_disk else "; no full and no read-only disks without root")
            )
            try:
                self.disturb()
                self.train(self.disturbed)  # nothing is left to train: tidies the index
                found = self.compared()
            finally:
                self.end()
                if self.options.keep:
                    shutil.copytree(
                        self.disturbed, self.folder / "kept", ignore=shutil.ignore_patterns("*.pkl")
                    )
        missed = self.options.faults - self.had.total()
        return found + ([f"{missed} faults came too late: all runs were finished"] if missed else [])

    def compared(self) -> list[str]:
        """What differs once nobody is at work any more."""
        outputs, until = self.disturbed / "outputs", time.monotonic() + LEFT_BEHIND_S
        while left_behind(outputs) and time.monotonic() < until:
            time.sleep(0.2)
        self.summarize(outputs)
        return differences(self.undisturbed / "outputs", outputs, STUDY)

    def disturb(self) -> None:
        """Faults until all have been had, and submissions until all runs are finished."""
        faults = Faults(self.cluster, self.disturbed, self.draw, self.submitting)
        kinds = list(faults.kinds)
        self.draw.shuffle(kinds)
        plan = [kinds[number % len(kinds)] for number in range(self.options.faults)]
        self.draw.shuffle(plan)
        while (finished := self.num_finished()) < self.options.runs:
            if self.submitting() is None and faults.is_idle():
                self.submit(finished)
            if plan and (hit := faults.kinds[plan[-1]]()) is not None:
                kind = plan.pop()
                self.had[kind] += 1
                self.say(f"fault {self.had.total():3d}  {kind:18}  {hit}; {finished} runs are finished")
                behind = self.had.total() / self.options.faults < finished / self.options.runs / LAST_FAULT_AT
                time.sleep(self.draw.uniform(0, 1) if behind else self.draw.uniform(1, 5))
            else:
                time.sleep(0.3)
            if time.monotonic() - self.started > 60 * self.options.minutes:
                raise SystemExit(f"not finished after {self.options.minutes} minutes")

    def submit(self, finished: int) -> None:
        """The same command again, or memcap.resume; in the background, so that faults hit it too."""
        again = ["-m", "memcap.resume", f"study={STUDY}"]
        listed = (self.disturbed / "outputs" / "studies" / STUDY / "cells.jsonl").exists()
        command = again if HAS_RESUME and listed and self.submissions % 2 else self.command("slurm")
        self.submissions += 1
        self.say(f"submission {self.submissions} ({command[1]}); {finished} runs are finished")
        with open(self.folder / f"submission{self.submissions}.log", "wb") as log:
            self.submitter = subprocess.Popen(
                [sys.executable, *command],
                cwd=self.disturbed,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def submitting(self) -> int | None:
        """The process that submits at present."""
        return self.submitter.pid if self.submitter is not None and self.submitter.poll() is None else None

    def end(self) -> None:
        """Nothing of the study is at work any more, however the soak has ended."""
        if (pid := self.submitting()) is not None:
            os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.CalledProcessError):
            self.cluster.run("scancel", "--user", getpass.getuser())

    def train(self, folder: Path) -> None:
        """By the plain launcher, in one process."""
        ran = subprocess.run(
            [sys.executable, *self.command("memcap")],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            raise SystemExit(f"{shlex.join(self.command('memcap'))} in {folder}:\n{ran.stdout}\n{ran.stderr}")

    def command(self, launcher: str) -> list[str]:
        seeds = ",".join(map(str, range(self.options.runs // CELLS_A_SEED)))
        submitting = ("launcher.wait=false", f"launcher.target_minutes={self.options.target_minutes}")
        return [
            *("-m", "memcap.train", "-m", f"study={STUDY}", f"seed={seeds}", "model.width=4,8"),
            *("data.batch_size=null,16", "data.num_samples=60", f"budget.steps={self.options.steps}"),
            *("measure=light", "measure.points=8", "measure.samples=true", "tracking=disabled"),
            *("hardware.engine=fused", "max_attempts=1000", "checkpoint.minutes=0.01"),
            *(f"hydra/launcher={launcher}", *(() if launcher == "memcap" else submitting)),
        ]

    def num_finished(self) -> int:
        return sum(1 for _ in self.disturbed.glob("outputs/runs/*/*/result.json"))

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:7.1f} s  {text}", flush=True)

    def summarize(self, outputs: Path) -> None:
        print(f"\n{'fault':20} number")
        for kind, number in sorted(self.had.items()):
            print(f"{kind:20} {number:6}")
        print(f"{'all':20} {self.had.total():6}\n")
        print(
            f"runs {self.options.runs}, attempts {attempts(outputs)}, runs that went on from a checkpoint",
            end=" ",
        )
        print(f"{resumed(outputs)}, submissions {self.submissions}, {time.monotonic() - self.started:.0f} s")


def soak(cluster: SlurmCluster, folder: Path, options: argparse.Namespace) -> int:
    """Exit status 0 if the records are equal; prints what differs."""
    found = Soak(cluster, folder, options).run()
    print("\n".join(found[:50]) if found else "the records are those of the undisturbed study, bit for bit")
    return int(bool(found))


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help=f"a multiple of {CELLS_A_SEED} (200)")
    parser.add_argument("--faults", type=int, default=100, help="(100)")
    parser.add_argument("--seed", type=int, default=0, help="of the kinds, targets and times of faults (0)")
    parser.add_argument("--steps", type=int, default=40000, help="of each run (40000)")
    parser.add_argument(
        "--target-minutes", type=float, default=0.05, help="predicted minutes of a task (0.05)"
    )
    parser.add_argument("--disk-mib", type=int, default=64, help="size of the disk that gets full (64)")
    parser.add_argument("--minutes", type=float, default=60, help="give up after so many (60)")
    parser.add_argument(
        "--state", type=Path, help="a folder with a running local cluster (one is made for it)"
    )
    parser.add_argument("--keep", action="store_true", help="keep records and logs, and say where")
    options = parser.parse_args(arguments)
    if options.runs < CELLS_A_SEED or options.runs % CELLS_A_SEED:
        parser.error(f"--runs must be a multiple of {CELLS_A_SEED}")
    return options


def main() -> int:
    options = parsed()
    folder = Path(tempfile.mkdtemp(prefix="memcap-soak-"))
    cluster = SlurmCluster(options.state or folder / "slurm")
    try:
        if options.state is None and (ran := cluster.up()).returncode:
            print(ran.stderr.strip(), file=sys.stderr)
            return ran.returncode
        return soak(cluster, folder, options)
    finally:
        if options.state is None:
            cluster.local_cluster("down")
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
