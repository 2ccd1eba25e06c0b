"""A sweep on Slurm as memcap packs it, beside hydra-submitit-launcher with a task for each cell, in one run.

    python benchmarks/slurm.py [--cells 200] [--rounds 1] [--steps 5000]

Brings a Slurm cluster up on this machine (launch/slurm/local_cluster; its packages have to be there) and takes it down.
Both ways train the same cells by memcap.train, each command in an empty folder, from its start to its return, tracking
disabled. Rounds alternate: memcap, stock, memcap. Every node claims 2 CPUs, whatever the machine has: on more real
cores the stock way gains more than memcap's, since most of its time is Python starting once per cell.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from overhead import machine

LOCAL_CLUSTER = Path(__file__).resolve().parents[1] / "launch" / "slurm" / "local_cluster"
MEMCAP = ["hardware=slurm_cpu"]
STOCK = ["hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[dict[str, str]]:
    """A cluster while the block lasts; the variables by which Slurm's commands find it."""
    # Sockets have short names: directly below the folder for temporary files.
    state = Path(tempfile.gettempdir()) / f"memcap-slurm-benchmark-{os.getpid()}"

    def local_cluster(*arguments: str) -> str:
        command = [sys.executable, str(LOCAL_CLUSTER), *arguments, "--state", str(state)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)  # it has said why
        return done.stdout

    try:
        local_cluster("up", "--nodes", str(nodes))
        line = local_cluster("env").strip().removeprefix("export ")
        yield dict([line.split("=", 1)])
    finally:
        local_cluster("down")


def seconds(arguments: list[str], environment: dict[str, str], num_cells: int) -> float:
    """Wall time of ``memcap.train`` in an empty folder; every cell has to have a result."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        command = [sys.executable, "-m", "memcap.train", "-m", *arguments, "tracking=disabled"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        wall_s = time.monotonic() - started
        finished = len(list(Path(folder).glob("outputs/runs/*/*/result.json")))
    if done.returncode or finished != num_cells:
        raise SystemExit(
            f"{' '.join(command)}: status {done.returncode}, {finished} finished\n{done.stderr[-2000:]}"
        )
    return wall_s


def main() -> None:
    """Prints a line for each command, then the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("cells", 200), ("rounds", 1), ("steps", 5000), ("nodes", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    print(machine())
    cells = [f"seed=range({a.cells})", f"budget.steps={a.steps}"]
    ways = {"memcap": MEMCAP, "stock": STOCK}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    with cluster(a.nodes) as slurm:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SLURM")},
            **slurm,
        }
        for way in ["memcap", *["stock", "memcap"] * a.rounds]:
            taken[way].append(seconds([*ways[way], *cells], environment, a.cells))
            print(
                f"{way:<8}{a.cells:>6} cells{taken[way][-1]:>9.1f} s{taken[way][-1] / a.cells * 1e3:>9.0f} ms a cell",
                flush=True,
            )
    median = {way: statistics.median(walls) for way, walls in taken.items()}
    print(f"stock / memcap, medians: {median['stock'] / median['memcap']:.1f}x")


if __name__ == "__main__":
    main()
