"""The engines beside each other and beside the processor's peak, on cells of Memory 2, in one run.

    python benchmarks/engines.py [--widths 8,16,32,64] [--samples 100,400,800,1600] [--members 8] [--repeats 7]

One thread, full batch, Adam, relu; D = V = 10. A step costs 6 · N · P floating-point operations for P parameters:
two for each weight and sample forward, four backward; activations, softmax and update are not counted. The peak is
torch's product of two square matrices. All are timed in turn, so that what else runs on the machine meets all of
them; a line holds medians, and the share of the peak is the median of the shares of each turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measures import configurations
from overhead import machine

from memcap.engines import BatchedEngine, Engine
from memcap.engines.fused.engine import FusedEngine
from memcap.population import Population

MATRIX = 512
SLICE_S = 0.1  # what one timing should take


def processor() -> str:
    """The name of the processor, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def seconds(work: Callable[[], object]) -> float:
    """Processor time: on a machine that others use, what they take is not counted."""
    started = time.process_time()
    work()
    return time.process_time() - started


def peak_gflops(dtype: str) -> float:
    """Of one core, now."""
    matrix = torch.ones(MATRIX, MATRIX, dtype=getattr(torch, dtype))
    return 2 * MATRIX**3 / statistics.median(seconds(lambda: matrix @ matrix) for _ in range(16)) / 1e9


def stepper(engine: Engine, population: Population) -> tuple[Callable[[], object], int]:
    """What trains for about SLICE_S, and the member-steps of it."""
    engine.advance(population, 8)  # compiles, warms the caches
    spent_s = seconds(lambda: engine.advance(population, 8))
    steps = max(8, int(8 * SLICE_S / spent_s))
    return lambda: engine.advance(population, steps), steps * len(population)


def line(width: int, samples: int, arguments: argparse.Namespace) -> str:
    """Times one cell."""
    common = [f"model.width={width}", f"data.num_samples={samples}", f"hardware.dtype={arguments.dtype}"]
    common += ["budget.steps=10000000", "activation=relu", "optimizer=adam"]
    configs = [configurations([*common, f"seed={seed}"]) for seed in range(arguments.members)]
    operations = 6 * samples * configs[0].num_parameters
    engines: dict[str, Engine] = {"fused": FusedEngine(), "batched": BatchedEngine()}
    work = {name: stepper(engine, Population(configs)) for name, engine in engines.items()}
    times_s: dict[str, list[float]] = {name: [] for name in engines}
    peaks = []
    for _ in range(arguments.repeats):
        peaks.append(peak_gflops(arguments.dtype))
        for name, (train, member_steps) in work.items():
            times_s[name].append(seconds(train) / member_steps)
    shares = [operations / t / 1e9 / peak for t, peak in zip(times_s["fused"], peaks, strict=True)]
    fused_s, batched_s = (statistics.median(times_s[name]) for name in engines)
    return (
        f"{width:>6}{samples:>8}{fused_s * 1e6:>11.2f}{batched_s * 1e6:>11.2f}{batched_s / fused_s:>8.1f}"
        f"{operations / fused_s / 1e9:>10.1f}{operations / batched_s / 1e9:>10.1f}{statistics.median(peaks):>8.1f}"
        f"{statistics.median(shares):>8.2f}"
    )


def main() -> None:
    """Prints a line for each width and N."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="8,16,32,64")
    parser.add_argument("--samples", default="100,400,800,1600")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, {processor()}, {arguments.dtype}, {arguments.members} members, one thread")
    print(f"{'':>14}{'µs per step and member':>30}{'GFLOP/s':>28}{'of peak':>8}")
    print(
        f"{'W':>6}{'N':>8}{'fused':>11}{'batched':>11}{'ratio':>8}{'fused':>10}{'batched':>10}{'peak':>8}{'fused':>8}"
    )
    for width in map(int, arguments.widths.split(",")):
        for samples in map(int, arguments.samples.split(",")):
            print(line(width, samples, arguments), flush=True)


if __name__ == "__main__":
    main()
