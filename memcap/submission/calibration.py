"""What a step takes on this machine, measured in a process of its own.

Whatever becomes of it there, a crash, memory or threads, the submitting process is untouched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from memcap.config.run_config import RunConfig

MEASURED_S: Final = 0.15  # of training, for each configuration
MOST_S: Final = 60.0  # for all of them, with the start of Python


def measure_steps(configs: Sequence[RunConfig], most_s: float = MOST_S) -> list[float | None]:
    """Seconds of one step of one member of each; None for what could not be trained, or not in ``most_s`` in all."""
    asked = "".join(json.dumps(config.to_dict()) + "\n" for config in configs)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "memcap.submission.calibration"],
            input=asked.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=most_s,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        printed = done.stdout
    except subprocess.TimeoutExpired as error:
        printed = error.stdout or b""
    except OSError:
        printed = b""
    found: list[float | None] = [None] * len(configs)
    for line in printed.splitlines():
        with suppress(
            ValueError, IndexError, KeyError, TypeError
        ):  # torn, or printed by a part of the user's own
            told = json.loads(line)
            found[told["number"]] = float(told["seconds"])
    return found


def measure_step(config: RunConfig) -> float:
    """Seconds of one step of one member, after a first call that compiles and warms up."""
    import torch

    from memcap.engines import build_engine
    from memcap.population import Population

    torch.set_num_threads(1)
    population, engine = Population([config]), build_engine([config])
    engine.advance(population, 1)
    steps, spent = 1, 0.0
    while spent < MEASURED_S and steps < 2**20:
        steps *= 2
        started = time.perf_counter()
        engine.advance(population, steps)
        spent = time.perf_counter() - started
    return spent / steps


def main() -> None:
    """Configurations as lines of JSON on stdin; on stdout a line for each that could be measured."""
    for number, line in enumerate(sys.stdin):
        with suppress(Exception):  # says so where it is trained
            seconds = measure_step(RunConfig.from_dict(json.loads(line)))
            print(json.dumps({"number": number, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
