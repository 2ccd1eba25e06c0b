"""Where the mean over seeds peaks: a bracket, finer levels around what may be the best, more seeds for what is left."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from memcap.compare.seed_split import LEAST_OF_BEST
from memcap.search.lattice import Lattice
from memcap.search.smoothing import local_fit
from memcap.search.trial import Evidence, Trial, means

FIRST_OCTAVES = (-1, 0, 1, 2)  # around the prior, before any value is known
FIRST_SEEDS = 2  # no candidate is judged by one seed
WINDOW_STRIDES = 3.5  # half width of the local fit
MOST_SIZES = 9  # of a level; where noise leaves more in question, seeds are added before sizes
KEEP_ERRORS = 1.5  # standard errors of a difference within which a candidate may be the best
PRUNE_ERRORS = 2.0  # ... behind which a nuisance setting is given up
PRUNE_NEIGHBOUR_ERRORS = 3.0  # ... a neighbour of the best setting
MOST_EXTENDED = 4  # settings beyond those given, to either side
GUARD = (
    1 + LEAST_OF_BEST
) / 2  # of the best mean that the chosen one has at least; compare asks for LEAST_OF_BEST


class Candidate(NamedTuple):
    """A size with a nuisance setting: its smoothed value with a standard error, its plain mean and how many seeds."""

    size: int
    setting: int
    value: float
    error: float
    mean: float
    num_seeds: int


@dataclasses.dataclass(frozen=True)
class Peak:
    """What was found: the chosen size and setting, and [low, high], the sizes within two standard errors of
    the best and their neighbours.
    tried: all settings that were. resolution: relative distance of neighbours at the last level.

    at_low, at_high: the best is the smallest or largest size that may be asked for.
    """

    size: int
    setting: int
    low: int
    high: int
    at_low: bool
    at_high: bool
    tried: tuple[int, ...]
    resolution: float


class PeakSearch:
    """Finds argmax over size and setting of the mean over seeds, for a curve that rises, peaks once and falls.

    Round 1 takes sizes at ratio 2 around the lattice's origin, all settings, two seeds, and goes on beyond an end as
    long as the best may lie there. Each later level halves the stride over the range of candidates within 1.5 standard
    errors (of a difference) of the best and their neighbours. Where that would be more than nine sizes, candidates get
    twice the seeds instead, and when seeds are used up the search ends at this level: a finer one would ask noise. The
    range is drawn anew from all evidence each time, so noise can move it but cannot cut off the peak for good. At the
    last level, what is still in question gets all seeds.
    Values are smoothed by ``local_fit`` within 3.5 strides. Settings are pruned when their best is 2 standard errors
    behind, 3 where they are neighbours of the best one. ``extends``: where the best setting is the first or last that
    was tried, the one beyond it is tried too, near the best size.
    """

    def __init__(
        self, lattice: Lattice, settings: Sequence[int], seeds: Sequence[int], *, extends: bool = False
    ) -> None:
        self.lattice, self.seeds, self.extends = lattice, list(seeds), extends
        self.evidence = Evidence()
        self.settings = list(settings)  # those still in question, ascending
        self.tried = list(settings)
        self.stride = lattice.per_octave
        self.num_seeds = min(FIRST_SEEDS, len(self.seeds))  # of candidates in question
        self._known: tuple[int, int, list[Candidate]] = (-1, 0, [])

    def rounds(self) -> Iterator[list[Trial]]:
        """The trials of each round; the next round may be asked for when ``evidence`` has been told of them."""
        first = [self.lattice.size(octave * self.stride) for octave in FIRST_OCTAVES]
        yield self._trials(first, FIRST_SEEDS)
        yield from self._widen()
        yield from self._extend()
        while self.stride > 1 and self._candidates():
            self._prune()
            finer = self._range(KEEP_ERRORS, self.stride // 2)
            if len(finer) <= MOST_SIZES:
                self.stride //= 2
                yield self._trials(finer, FIRST_SEEDS)
                yield from self._widen()
                yield from self._extend()
            elif self.num_seeds < len(self.seeds):
                yield from self._more_seeds()
            else:
                return
        while self.num_seeds < len(self.seeds):
            self._prune()
            yield from self._more_seeds()

    def found(self) -> Peak | None:
        """What is found so far; None where no run has a value."""
        best = self._best()
        if best is None:
            return None
        sizes = self._range(2.0, self.stride)
        return Peak(
            size=best.size,
            setting=best.setting,
            low=min(*sizes, best.size),
            high=max(*sizes, best.size),
            at_low=best.size <= self.lattice.low,
            at_high=best.size >= self.lattice.high,
            tried=tuple(self.tried),
            resolution=self.lattice.resolution(self.stride),
        )

    def num_grid_trials(self) -> int:
        """Trials of a grid of the same resolution over the range that was looked at, all settings and seeds."""
        sizes = self.evidence.sizes()
        points = self.lattice.between(sizes[0], sizes[-1]) if sizes else []
        return len(points) * len(self.tried) * len(self.seeds)

    # -- rounds ---------------------------------------------------------------------------------------

    def _trials(self, sizes: Iterable[int], num_seeds: int) -> list[Trial]:
        seeds = self.seeds[:num_seeds]
        return self.evidence.unknown(
            Trial(size, setting, seed)
            for size in sorted(set(sizes))
            for setting in self.settings
            for seed in seeds
        )

    def _extend(self) -> Iterator[list[Trial]]:
        """Settings beyond the outermost one as long as that is the best."""
        given = len(self.tried)
        while self.extends and (best := self._best()) is not None:
            if best.setting == self.tried[0]:
                beyond = best.setting - 1
            elif best.setting == self.tried[-1]:
                beyond = best.setting + 1
            else:
                return
            if len(self.tried) >= given + MOST_EXTENDED:
                return
            self.settings, self.tried = sorted({*self.settings, beyond}), sorted({*self.tried, beyond})
            yield self._trials(self._range(KEEP_ERRORS, self.stride), FIRST_SEEDS)

    def _widen(self) -> Iterator[list[Trial]]:
        """Goes on by octaves beyond an end at which the best may lie."""
        while True:
            sizes, near = self.evidence.sizes(), {c.size for c in self._near(KEEP_ERRORS)}
            if not sizes:
                return
            octave = self.lattice.per_octave
            ends = ((sizes[0], math.floor, -octave), (sizes[-1], math.ceil, octave))
            wider = [
                self.lattice.size(rounding(self.lattice.position(end) / octave) * octave + step)
                for end, rounding, step in ends
                if end in near
            ]
            trials = self._trials(wider, FIRST_SEEDS)
            if not trials:
                return
            yield trials

    def _more_seeds(self) -> Iterator[list[Trial]]:
        """Twice the seeds for the candidates in question, and their neighbours, should more seeds move the best."""
        self.num_seeds = min(2 * self.num_seeds, len(self.seeds))
        yield self.evidence.unknown(
            Trial(candidate.size, candidate.setting, seed)
            for candidate in self._near(KEEP_ERRORS)
            if candidate.setting in self.settings
            for seed in self.seeds[: self.num_seeds]
        )
        yield self._trials(self._range(KEEP_ERRORS, self.stride), FIRST_SEEDS)

    # -- judgement ------------------------------------------------------------------------------------

    def _candidates(self) -> list[Candidate]:
        """Every size of every live setting, with its smoothed value."""
        # All settings that are still in question and every value enter; their numbers tell whether any has changed.
        if self._known[:2] == (state := (len(self.evidence.values), hash((self.stride, *self.settings)))):
            return self._known[2]
        found = []
        for setting, row in means(self.evidence, self.settings).items():
            order = row.sizes_N.argsort()
            sizes_N, mean_N, variance_N, count_N = (part[order] for part in row)
            x_N = np.array([self.lattice.position(size) for size in sizes_N])
            value_N, error_N = local_fit(x_N, mean_N, variance_N, WINDOW_STRIDES * self.stride)
            rows = zip(sizes_N, value_N, error_N, mean_N, count_N, strict=True)
            found += [
                Candidate(int(n), setting, float(v), float(e), float(m), int(c)) for n, v, e, m, c in rows
            ]
        self._known = (*state, found)
        return found

    def _best(self) -> Candidate | None:
        """The largest smoothed value among those whose plain mean, over enough seeds, is near the largest such mean."""
        candidates = self._candidates()
        if not candidates:
            return None
        most = max(c.num_seeds for c in candidates)
        enough = [c for c in candidates if 2 * c.num_seeds >= most]
        least = GUARD * max(c.mean for c in enough)
        return max((c for c in enough if c.mean >= least), key=lambda c: (c.value, -c.size))

    def _near(self, errors: float) -> list[Candidate]:
        """Candidates that may be the best: no more than so many standard errors of the difference behind it."""
        best = self._best()
        if best is None:
            return []
        return [
            c
            for c in self._candidates()
            if c == best or best.value - c.value <= errors * math.hypot(best.error, c.error)
        ]

    def _range(self, errors: float, stride: int) -> list[int]:
        """Sizes at a stride from the lower to the upper neighbour of all that may be the best."""
        near = sorted({c.size for c in self._near(errors)})
        if not near:
            return []
        sizes = self.evidence.sizes()
        low = max((size for size in sizes if size < near[0]), default=near[0])
        high = min((size for size in sizes if size > near[-1]), default=near[-1])
        return self.lattice.between(low, high, stride)

    def _prune(self) -> None:
        """Gives up settings whose best is clearly behind; the neighbours of the best one need more to be."""
        best = self._best()
        if best is None:
            return
        tops: dict[int, Candidate] = {}
        for c in self._candidates():
            if c.setting not in tops or c.value > tops[c.setting].value:
                tops[c.setting] = c
        kept = []
        for setting in self.settings:
            top = tops.get(setting)
            is_neighbour = abs(setting - best.setting) <= 1
            errors = PRUNE_NEIGHBOUR_ERRORS if is_neighbour else PRUNE_ERRORS
            if setting == best.setting or (
                top is not None and best.value - top.value <= errors * math.hypot(best.error, top.error)
            ):
                kept.append(setting)
        self.settings = kept
