"""A whole sweep from the shell, beside the same one as a Hydra application with a PyTorch loop, in one run.

    python benchmarks/sweep.py [--cells 64] [--stock-cells 4] [--steps 5000] [--width 16] [--samples 300]

Whole processes, W&B offline in both, seeds as cells. The peer (peer_sweep.py) runs a cell after the other under Hydra's
basic launcher and logs loss and bits; it is timed on one cell and on some more, from which the time of all follows, so
that neither way's start weighs more. memcap is timed as it comes (measure=full) and with what the peer measures
(measure=light).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from overhead import machine


def seconds(command: list[str]) -> float:
    """Wall time of a process in an empty directory."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        environment = {**os.environ, "WANDB_SILENT": "true", "WANDB_MODE": "offline"}
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
        return time.monotonic() - started


def main() -> None:
    """Prints a line for each way, with the time of a cell and how many times memcap's the peer's is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("cells", 64),
        ("stock-cells", 4),
        ("steps", 5000),
        ("width", 16),
        ("samples", 300),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    print(machine())
    peer = [sys.executable, str(Path(__file__).with_name("peer_sweep.py")), "-m"]
    peer += [f"width={a.width}", f"num_samples={a.samples}", f"steps={a.steps}"]
    ours = [sys.executable, "-m", "memcap.train", "-m", f"seed=range({a.cells})", f"model.width={a.width}"]
    ours += [f"data.num_samples={a.samples}", f"budget.steps={a.steps}"]
    first_s = seconds([*peer, "seed=range(1)"])
    further_s = (seconds([*peer, f"seed=range({a.stock_cells + 1})"]) - first_s) / a.stock_cells
    peer_s = (first_s + further_s * (a.cells - 1)) / a.cells
    print(
        f"Hydra basic, PyTorch loop, W&B offline   {peer_s:8.3f} s a cell "
        f"({a.cells} cells, from {first_s:.1f} s for one and {further_s:.2f} s for each further one)"
    )
    for measure in ("light", "full"):
        own_s = seconds([*ours, f"measure={measure}"]) / a.cells
        text = f"memcap, measure={measure}, W&B offline"
        print(
            f"{text:<40} {own_s:8.3f} s a cell ({a.cells} cells): {peer_s / own_s:.1f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    main()
