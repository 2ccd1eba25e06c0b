"""What a step of the batched engine takes, and what packing and bfloat16 change.

    python benchmarks/batched.py [--turns 7] [--steps 20]

Processor time in µs per step and member, float32, one thread; variants take turns in one process, numbers are medians.
``one by one`` trains the same members as populations of one, the smallest working set there is.
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

from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine
from memcap.hydra_session import HydraSession
from memcap.population import Population

FORMULA = ("activation=formula", "activation.formula=sqrt(relu(x))")
CASES: dict[str, tuple[tuple[str, ...], int]] = {
    "sparse autoencoder, 8": (("experiment=sparse_autoencoder",), 8),
    "sparse autoencoder, 64": (("experiment=sparse_autoencoder",), 64),
    "W=16 N=300, 8": (("model.width=16", "data.num_samples=300"), 8),
    "W=16 N=300, 64": (("model.width=16", "data.num_samples=300"), 64),
    "W=64 N=1600, 8": (("model.width=64", "data.num_samples=1600"), 8),
    "W=16 N=300 formula, 8": (("model.width=16", "data.num_samples=300", *FORMULA), 8),
    "W=16 N=300 batches of 50, 8": (("model.width=16", "data.num_samples=300", "data.batch_size=50"), 8),
    "sparse N=1000 of 100, 8": (
        ("experiment=sparse_autoencoder", "data.num_samples=1000", "data.batch_size=100"),
        8,
    ),
}


def populations(session: HydraSession, overrides: Sequence[str], members: int) -> dict[str, list[Population]]:
    """The same members in each variant."""
    common = ("budget.steps=1000000", "measure.evaluation=false", "hardware.engine=batched")

    def configs(*more: str) -> list[RunConfig]:
        first = session.cell([*overrides, *common, *more]).config
        return [dataclasses.replace(first, seed=seed) for seed in range(members)]

    return {
        "together": [Population(configs())],
        "one by one": [Population([config]) for config in configs()],
        "bfloat16": [Population(configs("hardware.autocast=bfloat16"))],
    }


def times_us(variants: dict[str, list[Population]], steps: int, turns: int, members: int) -> dict[str, float]:
    """Processor time of a step and member by variant, and of drawing a batch."""
    found: dict[str, list[float]] = {"drawing": [], **{name: [] for name in variants}}
    engine = BatchedEngine()
    for turn in range(turns + 1):
        for name, parts in variants.items():
            started = time.process_time()
            for population in parts:
                engine.advance(population, steps)
            if turn:  # the first one warms up
                found[name].append((time.process_time() - started) / steps / members * 1e6)
        some = variants["together"][0]
        started = time.process_time()
        for _ in some.batches(some.step, steps) or ():
            pass
        if turn:
            found["drawing"].append((time.process_time() - started) / steps / members * 1e6)
    return {name: statistics.median(numbers) for name, numbers in found.items()}


def main() -> None:
    """Prints a row for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(f"{'case':>28}{'together':>10}{'drawing':>10}{'one by one':>12}{'bfloat16':>10}")
    session = HydraSession()
    for case, (overrides, members) in CASES.items():
        found = times_us(populations(session, overrides, members), arguments.steps, arguments.turns, members)
        columns = zip(("together", "drawing", "one by one", "bfloat16"), (10, 10, 12, 10), strict=True)
        row = "".join(f"{found[name]:>{width}.1f}" for name, width in columns)
        print(f"{case:>28}{row}", flush=True)


if __name__ == "__main__":
    main()
