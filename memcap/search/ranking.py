"""Which sizes and settings may be the best, from all that is known so far: smoothed values with their errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from memcap.compare.seed_split import LEAST_OF_BEST
from memcap.search.lattice import Lattice
from memcap.search.smoothing import local_fit
from memcap.search.trial import Evidence, Trial, means

WINDOW_STRIDES = 3.5  # half width of the local fit
KEEP_ERRORS = 1.5  # standard errors of a difference within which a candidate may be the best
BRACKET_ERRORS = 2.0  # ... behind which a size is worse
PRUNE_ERRORS = 2.0  # ... behind which a nuisance setting is given up
PRUNE_NEIGHBOUR_ERRORS = 3.0  # ... a neighbour of the best setting
MOST_APART = (
    4  # of an end of the bracket and the best; what is as good further off is noise and bounds no peak
)
GUARD = 0.2 + 0.8 * LEAST_OF_BEST  # of the best mean that the chosen one has; compare asks for LEAST_OF_BEST


class Candidate(NamedTuple):
    """A size with a nuisance setting: its smoothed value with a standard error, its plain mean, how many seeds have a
    value, and whether all the seeds there are were run (``is_complete``)."""

    size: int
    setting: int
    value: float
    error: float
    mean: float
    num_seeds: int
    is_complete: bool

    def may_beat(self, best: Candidate, errors: float) -> bool:
        """Whether it is no more than so many standard errors of the difference behind the best."""
        return self == best or best.value - self.value <= errors * math.hypot(best.error, self.error)


class Ranking:
    """Every size of every live setting, by smoothed value at a stride; made anew after each round."""

    def __init__(
        self, evidence: Evidence, settings: Sequence[int], seeds: Sequence[int], lattice: Lattice, stride: int
    ) -> None:
        self.evidence, self.lattice = evidence, lattice
        self.candidates: list[Candidate] = []
        for setting, row in means(evidence, settings).items():
            order = row.sizes_N.argsort()
            sizes_N, mean_N, variance_N, count_N = (part[order] for part in row)
            x_N = np.array([lattice.position(size) for size in sizes_N])
            value_N, error_N = local_fit(x_N, mean_N, variance_N, WINDOW_STRIDES * stride)
            for n, value, error, mean, count in zip(sizes_N, value_N, error_N, mean_N, count_N, strict=True):
                asked = not evidence.unknown(Trial(int(n), setting, seed) for seed in seeds)
                self.candidates.append(
                    Candidate(int(n), setting, float(value), float(error), float(mean), int(count), asked)
                )
        self.best = _best(self.candidates)  # with enough seeds to look around it
        self.chosen = _best([c for c in self.candidates if c.is_complete], _less_error)  # with all of them

    def near(self) -> list[Candidate]:
        """Candidates that may be the best."""
        return [c for c in self.candidates if self.best and c.may_beat(self.best, KEEP_ERRORS)]

    def rivals(self) -> list[Candidate]:
        """Candidates without all seeds that could still be better than the best one that has them.

        By smoothed value or by plain mean: two lucky seeds have a mean that all of them together take back.
        """
        if self.chosen is None:
            return [self.best] if self.best else []
        best = self.chosen
        return [
            c
            for c in self.candidates
            if not c.is_complete and (c.may_beat(best, KEEP_ERRORS) or c.mean >= best.mean)
        ]

    def span(self, stride: int) -> list[int]:
        """Sizes at a stride from the lower to the upper neighbour of all that may be the best."""
        near = sorted({c.size for c in self.near()})
        if not near:
            return []
        sizes = self.evidence.sizes()
        low = max((size for size in sizes if size < near[0]), default=near[0])
        high = min((size for size in sizes if size > near[-1]), default=near[-1])
        return self.lattice.between(low, high, stride)

    def bracket(self, around: Candidate) -> tuple[int | None, int | None]:
        """The closest sizes below and above, at its setting, that were tried and found worse by two standard errors.

        The bound of the lattice where all sizes up to there are as good; None where none was found worse within a
        factor of 4.
        """
        row = sorted(c for c in self.candidates if c.setting == around.setting)
        below = [c for c in reversed(row) if c.size < around.size]
        above = [c for c in row if c.size > around.size]
        ends: list[int | None] = []
        for side, bound in ((below, self.lattice.low), (above, self.lattice.high)):
            as_good = list(takewhile(lambda c: c.may_beat(around, BRACKET_ERRORS), side))
            worse = [c.size for c in side[len(as_good) :]]
            end = worse[0] if worse else (as_good[-1] if as_good else around).size
            is_far = max(end, around.size) > MOST_APART * min(end, around.size)
            ends.append(end if (worse or end == bound) and not is_far else None)
        return ends[0], ends[1]

    def neighbour(self, of: Candidate) -> list[Candidate]:
        """The better of the closest sizes at its setting; of the other settings where there is no other size."""
        row = sorted(c for c in self.candidates if c.setting == of.setting)
        place = row.index(of)
        beside = [*row[max(place - 1, 0) : place], *row[place + 1 : place + 2]]
        others = beside or [c for c in self.candidates if c.setting != of.setting]
        return [max(others, key=lambda c: (c.value, -c.size))] if others else []

    def live(self, settings: Sequence[int]) -> list[int]:
        """Settings without those whose best is clearly behind; the neighbours of the best one need more to be."""
        best = self.best
        if best is None:
            return list(settings)
        kept = []
        for setting in settings:
            row = [c for c in self.candidates if c.setting == setting]
            is_neighbour = abs(setting - best.setting) <= 1
            errors = PRUNE_NEIGHBOUR_ERRORS if is_neighbour else PRUNE_ERRORS
            if setting == best.setting or (row and max(row, key=_value).may_beat(best, errors)):
                kept.append(setting)
        return kept


def _value(candidate: Candidate) -> float:
    return candidate.value


def _less_error(candidate: Candidate) -> float:
    """What a choice goes by: a rate that sometimes collapses has to be better by more than its luck."""
    return candidate.value - candidate.error


def _best(candidates: Sequence[Candidate], key: Callable[[Candidate], float] = _value) -> Candidate | None:
    """The largest by key among those whose plain mean, over enough seeds, is near the largest such mean."""
    if not candidates:
        return None
    most = max(c.num_seeds for c in candidates)
    enough = [c for c in candidates if 2 * c.num_seeds >= most]
    least = GUARD * max(c.mean for c in enough)
    return max((c for c in enough if c.mean >= least), key=lambda c: (key(c), -c.size))
