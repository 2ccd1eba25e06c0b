"""How the time of a step grows with cells, N, width, depth and threads, for both engines, in one run.

    python benchmarks/growth.py [--steps 64]

Around W = 16, N = 300, depth 1, 64 cells, one thread (full batch, Adam, relu, float32); one thing is changed at a time.
Times are medians of five turns: wall time of one step, per member in µs, in calls of so many steps (fewer for the
batched engine where it would take minutes; a call costs it nothing, the fused one 50 µs a member).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence

from overhead import machine

from memcap.cells import wait_passively

wait_passively()  # before torch is imported: as memcap itself does

import torch

from memcap.engines import BatchedEngine, Engine
from memcap.engines.fused.engine import FusedEngine
from memcap.hydra_session import HydraSession
from memcap.population import Population

TURNS = 5
MOST_WORK = 2e9  # of a turn of the batched engine, in operations, so that large cells take no minutes
AXES: dict[str, Sequence[int]] = {
    "cells": (1, 4, 16, 64, 256, 1024, 4096),
    "data.num_samples": (30, 100, 300, 1000, 3000),
    "model.width": (4, 8, 16, 32, 64, 128),
    "model.depth": (1, 2, 3, 4),
    "threads": (1, 2),
}


def population(values: dict[str, int]) -> Population:
    """A population of that many seeds."""
    keys = [f"{key}={value}" for key, value in values.items() if "." in key]
    session = HydraSession()
    first = session.cell([*keys, "budget.steps=1000000", "measure.evaluation=false"]).config
    return Population([dataclasses.replace(first, seed=seed) for seed in range(values["cells"])])


def times_us(engines: dict[str, Engine], values: dict[str, int], steps: int) -> dict[str, float]:
    """Wall time of a step and member, by engine; the engines take turns."""
    torch.set_num_threads(values["threads"])
    populations = {name: population(values) for name in engines}
    some = populations["batched"]
    operations = 6 * some.parameters_MP.numel() * values["data.num_samples"]
    at_once = {"fused": steps, "batched": max(2, min(steps, int(MOST_WORK / operations)))}
    found: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(TURNS + 1):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine.advance(populations[name], at_once[name])
            if turn:  # the first one warms up
                found[name].append((time.perf_counter() - started) / at_once[name] / values["cells"] * 1e6)
    return {name: statistics.median(numbers) for name, numbers in found.items()}


def main() -> None:
    """Prints a table for each axis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=64)
    steps = parser.parse_args().steps
    print(machine())
    base = {"cells": 64, "data.num_samples": 300, "model.width": 16, "model.depth": 1, "threads": 1}
    for axis, points in AXES.items():
        print(f"\n{axis:>18}{'fused, µs':>12}{'batched, µs':>13}{'ratio':>8}")
        for point in points:
            values = {**base, axis: point}
            engines: dict[str, Engine] = {"fused": FusedEngine(values["threads"]), "batched": BatchedEngine()}
            found = times_us(engines, values, steps)
            ratio = found["batched"] / found["fused"]
            print(f"{point:>18}{found['fused']:>12.2f}{found['batched']:>13.2f}{ratio:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
