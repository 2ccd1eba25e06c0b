"""A capacity search beside a grid of equal resolution, over nine configurations: cost, and whether both say the same.

    python benchmarks/search.py [--steps 1000] [--seeds 4] [--fresh 8] [--widths 4,6,8] [--activations relu,silu,sin]

The grid has the same learning rates and as many choosing seeds (others than the search's), and sizes at the lattice's
finest ratio over three octaves, from half of what one bit per parameter needs to four times that. Its best mean is then
measured on as many fresh seeds. Steps are counted from the records.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from overhead import machine

import memcap
from memcap.records.means import mean_and_half_width
from memcap.search.lattice import Lattice

RATES = (0.01, 0.03, 0.1)
LEAN = ("measure=light", "measure.points=2", "records.weights=none", "tracking=disabled", "schedule=cosine")


def quiet_sweep(overrides: list[str]) -> Any:
    """The table of a sweep, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return memcap.sweep([*LEAN, *overrides])


def search(a: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of search.json."""
    rates = ",".join(map(str, RATES))
    runs = quiet_sweep(
        [
            *("hydra/sweeper=capacity", f"search.seeds={a.seeds}", f"search.fresh_seeds={a.fresh}"),
            *(f"search.learning_rates=[{rates}]", f"activation={a.activations}", f"model.width={a.widths}"),
            *(f"budget.steps={a.steps}", "study=search"),
        ]
    )
    record = json.loads(Path("outputs/studies", runs.attrs["study"], "search.json").read_text())
    rows: list[dict[str, Any]] = record["configurations"]
    return rows


def grid(own: list[str], num_parameters: int, a: argparse.Namespace) -> dict[str, Any]:
    """The best cell of all sizes and rates by its mean over seeds, measured again."""
    lattice = Lattice(num_parameters / math.log2(10), 0.05, 1, 10**6)
    sizes = lattice.sizes(-lattice.per_octave, 2 * lattice.per_octave)
    fixed = [*own, f"budget.steps={a.steps}", "study=grid"]
    runs = quiet_sweep(
        [
            *(*fixed, "data.num_samples=" + ",".join(map(str, sizes)), f"seed=range(100,{100 + a.seeds})"),
            "optimizer.learning_rate=" + ",".join(map(str, RATES)),
        ]
    )
    bits = runs["memory/bits"].where(runs["status"] != "diverged", 0.0)
    means = bits.groupby([runs["data.num_samples"], runs["optimizer.learning_rate"]]).mean()
    size, rate = means.idxmax()
    fresh = quiet_sweep(
        [
            *(*fixed, f"data.num_samples={size}", f"optimizer.learning_rate={rate}"),
            f"seed=range(2000,{2000 + a.fresh})",
        ]
    )
    mean, half = mean_and_half_width(fresh["memory/bits"].where(fresh["status"] != "diverged", 0.0).tolist())
    steps = int(runs["steps"].sum() + fresh["steps"].sum())
    return {"best": size, "rate": rate, "bits": mean, "half": half or 0.0, "member_steps": steps}


def main() -> None:
    """Prints a line for each configuration: capacity and cost of both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("steps", 1000), ("seeds", 4), ("fresh", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--widths", default="4,6,8")
    parser.add_argument("--activations", default="relu,silu,sin")
    a = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        started = time.monotonic()
        rows = search(a)
        middle = time.monotonic()
        print(f"{'configuration':32}{'search: N, bits':>24}{'grid: N, bits':>24}{'apart':>8}{'cost':>8}")
        pairs = []
        for row in rows:
            other = grid(row["overrides"], row["num_parameters"], a)
            half = row["capacity_bits"] - row["ci_low"]
            apart = (row["capacity_bits"] - other["bits"]) / math.hypot(half, other["half"])
            share = row["member_steps"] / other["member_steps"]
            pairs.append((row["member_steps"], other["member_steps"], apart))
            mine = f"{row['best']}, {row['capacity_bits']:.1f} ± {half:.1f}"
            theirs = f"{other['best']}, {other['bits']:.1f} ± {other['half']:.1f}"
            print(
                f"{' '.join(row['overrides']):32}{mine:>24}{theirs:>24}{apart:+8.2f}{share:8.1%}", flush=True
            )
        ended = time.monotonic()
    used, grids = (sum(pair[i] for pair in pairs) for i in (0, 1))
    inside = sum(abs(apart) <= 1 for _, _, apart in pairs)
    print(
        f"\nsearch {used:,} member-steps, grid {grids:,}: 1/{grids / used:.1f}; {middle - started:.0f} s and",
        end=" ",
    )
    print(
        f"{ended - middle:.0f} s; capacities within the 95 % interval of their difference: {inside} of {len(pairs)}"
    )


if __name__ == "__main__":
    main()
