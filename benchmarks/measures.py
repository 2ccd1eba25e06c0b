"""What each measure costs beside the training that it watches, on cells of Memory 2, in one run.

    python benchmarks/measures.py [--steps 10000] [--widths 10,20,40] [--samples 100,300,500,800] [--seeds 2]

Every population is trained to its budget; at each measurement point every measure is taken by an observer of its
own and timed. A measure's share is the sum of its times over the training time between the points; per cell it is
that sum over the members. Loss, bits and accuracy are always taken and stand in the first line; what is taken at the
end only has one time. Engine and threads as memcap chooses them; times are processor time, since threads wait for each
other and for other programs.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import defaultdict

from overhead import machine

from memcap.cells import wait_passively

wait_passively()  # before torch is imported: as memcap itself does

from memcap.config.measure_schema import MeasureConfig
from memcap.config.run_config import RunConfig
from memcap.engines import build_engine
from memcap.engines.threads import set_threads
from memcap.hydra_session import HydraSession
from memcap.measures.curvature import loss_curvature
from memcap.measures.observation import Observer
from memcap.measures.points import measurement_steps
from memcap.population import Population

BASE = "loss, bits, accuracy"
FULL = "measure=full"
OPTIONAL = ("trace", "spectrum")


def only(measure: MeasureConfig, name: str) -> MeasureConfig:
    """The same with one measure on; none for the base."""
    names = measure.ALONG_THE_WAY + measure.AT_THE_END
    return dataclasses.replace(measure, **{other: other == name for other in names})


def observers(population: Population) -> dict[str, Observer]:
    """One for each measure that exists, and one for what is always measured."""
    measure = population.configs[0].measure
    found = {FULL: Observer(population)}
    for name in (BASE, *measure.ALONG_THE_WAY, *measure.AT_THE_END):
        found[name] = Observer(population)
        found[name].measure = only(measure, name)
        found[name].curvature.measure = found[name].measure
    return found


def watch(configs: list[RunConfig]) -> tuple[float, dict[str, float]]:
    """Training time, and the time of each measure without the base, in s."""
    set_threads(configs)
    population, engine = Population(configs), build_engine(configs)
    loss_curvature(population)  # what is compiled once and kept
    watchers = observers(population)
    training_s, spent_s = 0.0, defaultdict(float)
    at_end = population.configs[0].measure.AT_THE_END
    for step in measurement_steps(configs[0].budget.steps, configs[0].measure.points):
        started = time.process_time()
        engine.advance(population, step - population.step)
        training_s += time.process_time() - started
        for name, observer in watchers.items():
            if name not in at_end or step == 0:  # first losses are taken at the start
                started = time.process_time()
                observer.observe(population)
                spent_s[name] += time.process_time() - started
    points = len(measurement_steps(configs[0].budget.steps, configs[0].measure.points))
    for name in at_end:
        started = time.process_time()
        watchers[name].end(population)
        spent_s[name] = time.process_time() - started
    base_s = spent_s[BASE]
    return training_s, {
        name: value if name in (BASE, FULL) or name in at_end else max(value - base_s, 0.0)
        for name, value in spent_s.items()
    } | {"points": points}


def main() -> None:
    """Prints a line for each measure, and the sum of those that measure=full takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--widths", default="10,20,40")
    parser.add_argument("--samples", default="100,300,500,800")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    print(machine())
    watch([HydraSession().cell(["budget.steps=10"]).config])  # compiles, or loads what was compiled
    widths, samples = arguments.widths.split(","), arguments.samples.split(",")
    results, session = {}, HydraSession()
    for width in widths:
        common = [f"model.width={width}", f"budget.steps={arguments.steps}"]
        cells = [
            [*common, f"data.num_samples={n}", f"seed={s}"] for n in samples for s in range(arguments.seeds)
        ]
        configs = [session.cell(overrides).config for overrides in cells]
        training_s, spent_s = watch(configs)
        results[width] = training_s, spent_s, len(configs)
        print(
            f"width {width}: {len(configs)} cells, {arguments.steps} steps, {training_s:.1f} s of training",
            flush=True,
        )
    print(f"\n{'measure':<24}" + "".join(f"{'W=' + w:>20}" for w in widths))
    for name in next(iter(results.values()))[1]:
        if name in ("points", FULL):
            continue
        cells = [f"{s[name] / t:8.2%}{s[name] / m * 1e3:9.1f} ms" for t, s, m in results.values()]
        print(
            f"{name + (' (off in full)' if name in OPTIONAL else ''):<24}"
            + "".join(f"{c:>20}" for c in cells)
        )
    # Along the way it is one observer's time, since measures share passes; their own times add up to more.
    at_end = [name for name in MeasureConfig.AT_THE_END if name not in OPTIONAL]
    full = [(s[FULL] + sum(s[name] for name in at_end), t, m) for t, s, m in results.values()]
    print(f"{FULL:<24}" + "".join(f"{f'{s / t:8.2%}{s / m * 1e3:9.1f} ms':>20}" for s, t, m in full))


if __name__ == "__main__":
    main()
