"""How many random labels a linear classifier can memorize: the largest N that is separable, and its median."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from memcap.oracle.problem import LinearProblem
from memcap.oracle.separability import Separability, linear_program
from memcap.oracle.softmax_optimum import UndecidedOptimum, softmax_optimum

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Threshold:
    """``num_samples``: the first N samples of a seed can be separated, the first N + 1 cannot.

    separable, inseparable: the proofs of the two. by_linear_program: whether linear programs found the same.
    """

    num_samples: int
    separable: Separability
    inseparable: Separability
    by_linear_program: bool


def largest_separable(
    problem: LinearProblem, *, linear_programs: bool = True, said: Callable[[str], None] = lambda where: None
) -> Threshold:
    """The largest N whose samples are separable, by bisection: separable at N is separable below it.

    Every step is decided by Newton's method with a proof of its own (``softmax_optimum``), or by HiGHS where it has
    none after all its steps; with ``linear_programs`` the two N beside the threshold are decided once more by HiGHS.
    Raises RuntimeError where the two disagree, or where neither decides. ``said`` is told what is being decided.
    """
    low = problem.num_inputs  # N <= D Gaussian inputs are linearly independent
    high = 2 * max(low, 2)
    said(f"N up to {high}")
    proofs = {low: _decide(problem, low)}
    while (proofs.setdefault(high, _decide(problem, high))).separable:
        low, high = high, 2 * high
        said(f"N up to {high}")
    while high - low > 1:
        middle = (low + high) // 2
        said(f"N between {low} and {high}")
        proofs[middle] = _decide(problem, middle)
        low, high = (middle, high) if proofs[middle].separable else (low, middle)
    if linear_programs:
        for size in (low, high):
            said(f"N = {size}, by a linear program")
            found = linear_program(*problem.samples(size), problem.num_classes)
            if found.separable is not proofs[size].separable:
                raise RuntimeError(
                    f"{problem}, N = {size}: {proofs[size]} by Newton's method, {found} by HiGHS"
                )
    return Threshold(low, proofs[low], proofs[high], linear_programs)


@dataclasses.dataclass(frozen=True)
class Median:
    """``value`` and an interval that needs no assumption on the distribution, covering it with ``confidence``."""

    value: float
    low: float
    high: float
    confidence: float


def median(values: Sequence[float]) -> Median:
    """The sample median, between the order statistics x_(k) and x_(n+1−k), with the largest k that covers 95 %.

    The coverage is exact, 1 − 2 P(Binomial(n, ½) < k), for values without ties. Fewer than six values reach less than
    95 %: then k = 1, and ``confidence`` says what that is. David and Nagaraja 2003, Order Statistics, section 7.1.
    """
    ordered = sorted(values)
    number = len(ordered)
    if number == 0:
        raise ValueError("no values")
    middle = (ordered[(number - 1) // 2] + ordered[number // 2]) / 2
    best = 1
    while best < (number + 1) // 2 and _coverage(number, best + 1) >= CONFIDENCE:
        best += 1
    return Median(middle, ordered[best - 1], ordered[number - best], max(0.0, _coverage(number, best)))


def _coverage(number: int, rank: int) -> float:
    return 1 - 2 * sum(math.comb(number, k) for k in range(rank)) / 2**number


def _decide(problem: LinearProblem, num_samples: int) -> Separability:
    samples = problem.samples(num_samples)
    try:
        return softmax_optimum(*samples, problem.num_classes).separability
    except UndecidedOptimum as error:
        if error.separability.separable is not None:
            return error.separability
        found = linear_program(*samples, problem.num_classes)
        if found.separable is None:
            raise RuntimeError(f"{error}; nor does HiGHS decide") from error
        return found
