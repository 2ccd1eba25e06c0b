"""What W&B costs a run, offline, and whether it stays the same over thousands of runs.

    python benchmarks/tracking.py [--runs 1000] [--rows 40] [--max-live 64]

Runs are opened, logged and finished by the tracker as a sweep does it: populations of 64, rows of 30 metrics. Memory
is that of this process and of the client's service, descriptors are those of both; flat means that the last line has
no more of them than the first.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from memcap.config.schema import TrackingConfig
from memcap.records.wandb_tracker import WandbTracker

POPULATION = 64
NUM_METRICS = 30


def tracking(max_live: int) -> TrackingConfig:
    """The values of conf/tracking/wandb.yaml, offline."""
    path = Path(__file__).parents[1] / "conf" / "tracking" / "wandb.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    return TrackingConfig(**values | {"mode": "offline", "tags": (), "max_live": max_live})


def processes() -> list[int]:
    """This process and the client's service."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    services = [int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and "wandb" in name]
    return [os.getpid(), *services]


def memory_mib() -> list[float]:
    """Resident memory of each of the two."""
    sizes = []
    for pid in processes():
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        sizes.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
    return sizes


def num_descriptors() -> list[int]:
    """Open files of each of the two."""
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in processes()]


def train(tracker: WandbTracker, numbers: range, num_rows: int) -> None:
    """One population: its runs begin together, are logged in turn, and end together."""
    config = {"seed": 0, "model": {"kind": "mlp", "width": 32}, "data": {"num_samples": 300}}
    runs = [tracker.start(f"{number:012x}", config, f"seed={number}") for number in numbers]
    for k in range(num_rows):
        row = {"train/step": k} | {f"metric/{i}": k / (i + 1) for i in range(NUM_METRICS)}
        for run in runs:
            run.log(row)
    for run in runs:
        run.finish({"memory/bits": 996.6, "status": "finished"}, 0)


def main() -> None:
    """Prints a line each time a quarter of the runs is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--max-live", type=int, default=64)
    arguments = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} threads")
    print(f"{'runs':>8}{'ms/run':>10}{'MiB here':>10}{'service':>10}{'files here':>12}{'service':>10}")
    folder = Path(tempfile.mkdtemp(prefix="memcap-tracking-"))
    tracker = WandbTracker(tracking(arguments.max_live), "benchmark", folder)
    train(tracker, range(POPULATION), 1)  # the service starts with the first run
    started, done, next_line = time.monotonic(), 0, arguments.runs / 4
    for first in range(POPULATION, POPULATION + arguments.runs, POPULATION):
        numbers = range(first, min(first + POPULATION, POPULATION + arguments.runs))
        train(tracker, numbers, arguments.rows)
        done += len(numbers)
        if done >= next_line:
            next_line += arguments.runs / 4
            took_ms = (time.monotonic() - started) / done * 1e3
            here, service = [*memory_mib(), 0.0][:2]
            files, files_service = [*num_descriptors(), 0][:2]
            print(f"{done:>8}{took_ms:>10.1f}{here:>10.0f}{service:>10.0f}{files:>12}{files_service:>10}")
    closing = time.monotonic()
    tracker.close()
    print(f"close: {time.monotonic() - closing:.1f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
