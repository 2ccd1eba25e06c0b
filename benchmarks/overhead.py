"""What a sweep costs besides training, beside Hydra's stock sweeper and launcher, in one run.

    python benchmarks/overhead.py [--cells 1000,10000] [--stock-cells 100]

Every cell trains one step on two samples, so nearly all that is timed is composing, validating, hashing, records
and the table, the imports of the process included. Whole processes, tracking disabled. The stock path is timed
on fewer cells and given per cell, since it grows with their number.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time

TINY = ["data.num_samples=2", "budget.steps=1", "measure=light", "measure.points=1", "tracking=disabled"]
STOCK = ["hydra/sweeper=basic", "hydra/launcher=basic"]


def measure(num_cells: int, extra: list[str]) -> tuple[float, float]:
    """Wall time in s and the largest memory in GiB of a sweep over ``num_cells`` seeds."""
    command = [sys.executable, "-m", "memcap.train", "-m", f"seed=range({num_cells})", *TINY, *extra]
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = _wait(process)
        wall_s = time.monotonic() - started
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return wall_s, usage.ru_maxrss / 2**20


def machine() -> str:
    """What the timings belong to."""
    try:
        import psutil
    except ImportError:
        return f"{platform.platform()}, {os.cpu_count()} threads (pip install -e '.[benchmarks]' says more)"
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{platform.platform()}, {psutil.cpu_count(logical=False)} cores, {memory_gib:.0f} GiB"


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int, resource.struct_rusage]:
    pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return pid, process.returncode, usage


def main() -> None:
    """Prints one line for each way and number of cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="1000,10000", help="sweep sizes for memcap's sweeper and launcher")
    parser.add_argument("--stock-cells", type=int, default=100, help="sweep size for Hydra's own")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'path':<24}{'cells':>8}{'wall s':>10}{'ms/cell':>10}{'GiB':>8}")
    per_cell_ms = {}
    for num_cells in map(int, arguments.cells.split(",")):
        wall_s, memory_gib = measure(num_cells, [])
        per_cell_ms["memcap"] = wall_s / num_cells * 1e3
        print(f"{'memcap':<24}{num_cells:>8}{wall_s:>10.1f}{per_cell_ms['memcap']:>10.2f}{memory_gib:>8.2f}")
    wall_s, memory_gib = measure(arguments.stock_cells, STOCK)
    per_cell_ms["stock"] = wall_s / arguments.stock_cells * 1e3
    print(
        f"{'hydra basic':<24}{arguments.stock_cells:>8}{wall_s:>10.1f}{per_cell_ms['stock']:>10.2f}{memory_gib:>8.2f}"
    )
    print(f"stock / memcap per cell: {per_cell_ms['stock'] / per_cell_ms['memcap']:.0f}x")


if __name__ == "__main__":
    main()
