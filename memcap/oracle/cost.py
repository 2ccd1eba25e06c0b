"""How long exact answers take, so that a question that takes hours is asked on purpose."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from memcap.errors import BadInput
from memcap.oracle.problem import LinearProblem

SAID_ABOVE_S, ASKED_ABOVE_S = 60.0, 600.0
NEWTON_STEPS = 15  # of one optimum: 4 to 25, up to 50 beside the separable N
BISECTIONS = 10
# A linear program: with constraints times variables to the power of 1.6, within a factor of three of what was measured
# beside the threshold: 0.24 s at D = 12, V = 20; 1.8 s at D = V = 20; 11 to 26 s at D = 20, V = 40, N = 200; 730 s
# at D = V = 40, N = 416 (on a busy machine).
PROGRAM_S, PROGRAM_SIZE, PROGRAM_POWER = 30.0, 6e6, 1.6


def check_time(asked: Mapping[LinearProblem, Sequence[int]], *, programs: bool, force: bool) -> None:
    """BadInput where answers for these problems would take more than ten minutes; ``force`` asks all the same.

    asked: for each problem the N at which its optimum is wanted, beside its largest separable N; programs: whether
    that is confirmed by linear programs.
    """
    seconds = predicted_s(asked, programs=programs)
    if seconds > SAID_ABOVE_S and (force or seconds <= ASKED_ABOVE_S):
        fewer = "; programs=0 is faster" if programs else ""
        print(f"memcap: exact answers take about {_in_words(seconds)}{fewer}", file=sys.stderr, flush=True)
    if seconds <= ASKED_ABOVE_S or force:
        return
    largest = max(asked, key=num_equations)
    problems = f"{len(asked)} problems" if len(asked) > 1 else "a problem"
    raise BadInput(
        f"{problems} of up to D = {largest.input_dim}, V = {largest.num_classes} would take about"
        f" {_in_words(seconds)}; give {'programs=0, ' * programs}fewer or smaller ones, or force=true"
    )


def predicted_s(asked: Mapping[LinearProblem, Sequence[int]], *, programs: bool) -> float:
    """Processor seconds of all these answers, within a factor of about three."""
    operations, of_programs = 0.0, 0.0
    for problem, sizes in asked.items():
        threshold = rough_threshold(problem)
        operations += sum(newton_operations(problem, size) for size in sizes)
        operations += BISECTIONS * newton_operations(problem, threshold)
        of_programs += programs_s(problem) * programs
    return operations / _operations_per_s() + of_programs


def programs_s(problem: LinearProblem) -> float:
    """Processor seconds of the two linear programs beside the largest separable N."""
    constraints = rough_threshold(problem) * (problem.num_classes - 1)
    size = constraints * num_equations(problem) / PROGRAM_SIZE
    return 2 * PROGRAM_S * size**PROGRAM_POWER


def newton_operations(problem: LinearProblem, num_samples: int) -> float:
    """Multiplications and additions of an optimum: each step a Gram matrix of all equations and its Cholesky factor."""
    equations = num_equations(problem)
    return NEWTON_STEPS * (2.0 * num_samples * equations**2 + equations**3 / 3.0)


def num_equations(problem: LinearProblem) -> int:
    """(V − 1) (D + bias), the rows of Newton's system."""
    return problem.num_parameters_effective


def rough_threshold(problem: LinearProblem) -> int:
    """2 D log2 V, for costs only: the largest separable N of two classes (Cover 1965).

    1.5 to 1.7 times the largest separable N for V = 10, 1 to 1.3 times it for V = 40.
    """
    return math.ceil(2 * problem.num_inputs * math.log2(problem.num_classes))


def _operations_per_s() -> float:
    """What this processor does now, by a product that takes some milliseconds; factoring reaches about half.

    Of processor time: by the clock on the wall a machine that is busy seems up to three times as slow.
    """
    matrix = np.ones((400, 400))
    started = time.process_time()
    for _ in range(4):
        matrix @ matrix
    return 0.5 * 4 * 2 * 400**3 / (time.process_time() - started)


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600)):
        if seconds > 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} min"
