"""The engines beside each other and beside the processor's peak, on cells of Memory 2, in one run.

    python benchmarks/engines.py [--peers] [--widths 8,16,32,64] [--samples 100,400,800,1600] [--members 8]

One thread, full batch, Adam, relu; D = V = 10. A step costs 6 · N · P floating-point operations for P parameters, two
for each weight and sample forward, four backward, less the 2 · N · D · W of a gradient by the inputs, which nobody
needs; activations, softmax and update are not counted. The peak is torch's product of two square matrices. All are
timed in turn, so that what else runs on the machine meets all of them; numbers are processor time, medians of the
turns, and the share of the peak is the median of the shares of each turn. ``--peers`` adds what others would write
(peers.py): a PyTorch loop over the members, torch.func over all of them, and where JAX is installed its
jit(vmap(scan)), which takes all cores (its processor time is counted) and whose compilation is a column of its own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from overhead import machine
from peers import Problem, Timing, jax_scan, pytorch_loop, torch_func

from memcap.engines import BatchedEngine, Engine
from memcap.engines.fused.engine import FusedEngine
from memcap.hydra_session import HydraSession
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


def peers(width: int, samples: int, members: int) -> dict[str, Callable[[], Timing]]:
    """What others would write, each for about a tenth of a second to a second."""
    problem, steps = Problem.draw(members, samples, width), 40
    found: dict[str, Callable[[], Timing]] = {
        "PyTorch": lambda: pytorch_loop(problem, steps),
        "torch.func": lambda: torch_func(problem, steps),
    }
    if find_spec("jax"):
        found["JAX"] = lambda: jax_scan(problem, 10 * steps)
    return found


def line(width: int, samples: int, arguments: argparse.Namespace) -> str:
    """Times one cell."""
    common = [f"model.width={width}", f"data.num_samples={samples}", f"hardware.dtype={arguments.dtype}"]
    common += ["budget.steps=10000000", "activation=relu", "optimizer=adam"]
    session = HydraSession()
    configs = [session.cell([*common, f"seed={seed}"]).config for seed in range(arguments.members)]
    operations = samples * (6 * configs[0].num_parameters - 2 * configs[0].data.num_inputs * width)
    engines: dict[str, Engine] = {"fused": FusedEngine(), "batched": BatchedEngine()}
    work = {name: stepper(engine, Population(configs)) for name, engine in engines.items()}
    others = peers(width, samples, arguments.members) if arguments.peers else {}
    times_s: dict[str, list[float]] = {name: [] for name in (*engines, *others)}
    peaks, compile_s = [], 0.0
    for _ in range(arguments.repeats):
        peaks.append(peak_gflops(arguments.dtype))
        for name, (train, member_steps) in work.items():
            times_s[name].append(seconds(train) / member_steps)
        for name, train_peer in others.items():
            timing = train_peer()
            compile_s = max(compile_s, timing.ready_s)
            times_s[name].append(timing.training_s / timing.steps / arguments.members)
    shares = [operations / t / 1e9 / peak for t, peak in zip(times_s["fused"], peaks, strict=True)]
    medians = {name: statistics.median(found) for name, found in times_s.items()}
    fused_s = medians["fused"]
    columns = [f"{fused_s * 1e6:>11.2f}", f"{medians['batched'] * 1e6:>11.2f}"]
    columns += [f"{medians[name] * 1e6:>11.1f}" for name in others]
    columns += [f"{medians['batched'] / fused_s:>8.1f}"]
    columns += [f"{medians[name] / fused_s:>8.1f}" for name in others]
    columns += [
        f"{operations / fused_s / 1e9:>9.1f}{statistics.median(peaks):>7.1f}{statistics.median(shares):>7.2f}"
    ]
    columns += [f"{compile_s:>9.1f}"] * bool(compile_s)
    return f"{width:>5}{samples:>6}" + "".join(columns)


def heading(names: list[str], compiles: bool) -> str:
    """Two lines over the columns."""
    count, short = len(names), [name.replace("torch.func", "t.func") for name in names]
    first = f"{'':>11}{'µs per step and member':>{11 * count}}{'times the fused':>{8 * (count - 1)}}"
    first += f"{'GFLOP/s':>16}{'share':>7}"
    second = f"{'W':>5}{'N':>6}" + "".join(f"{name:>11}" for name in names)
    second += "".join(f"{name:>8}" for name in short[1:]) + f"{'fused':>9}{'peak':>7}{'':>7}"
    return f"{first}\n{second}" + (f"{'JAX, s':>9}" if compiles else "")


def main() -> None:
    """Prints a line for each width and N."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", default="8,16,32,64")
    parser.add_argument("--samples", default="100,400,800,1600")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--peers", action="store_true", help="also what others would write, float32 only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, {processor()}, {arguments.dtype}, {arguments.members} members, one thread")
    others = list(peers(8, 100, 1)) if arguments.peers else []
    print(heading(["fused", "batched", *others], "JAX" in others))
    for width in map(int, arguments.widths.split(",")):
        for samples in map(int, arguments.samples.split(",")):
            print(line(width, samples, arguments), flush=True)


if __name__ == "__main__":
    main()
