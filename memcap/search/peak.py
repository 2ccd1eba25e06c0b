"""Where the mean over seeds peaks: a bracket, finer levels around what may be the best, more seeds for what is left."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

from memcap.search.lattice import Lattice
from memcap.search.ranking import Candidate, Ranking
from memcap.search.trial import Evidence, Trial

FIRST_OCTAVES = (-1, 0, 1, 2)  # around the prior, before any value is known
FIRST_SEEDS = 2  # no candidate is judged by one seed
MOST_SIZES = 9  # of a level; where noise leaves more in question, seeds are added before sizes
MOST_EXTENDED = 4  # settings beyond those given, in a whole search


@dataclasses.dataclass(frozen=True)
class Peak:
    """What was found: the chosen size and setting, which all seeds were run at.

    low, high: the closest sizes that were found worse at this setting (``Ranking.bracket``); None where none was.
    tried: all settings that were. resolution: relative distance of neighbours at the last level.

    at_low, at_high: the best is the smallest or largest size that may be asked for.
    """

    size: int
    setting: int
    low: int | None
    high: int | None
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
    end what is still in question gets all seeds, until no candidate without them could be better than the best one that
    has them; the choice is made among these. At least one neighbour of the best has all seeds too, which tells
    those that choose from fresh ones (``compare.seed_split``).
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
        self.num_given = len(self.tried)
        self.stride = lattice.per_octave
        self.num_seeds = min(FIRST_SEEDS, len(self.seeds))  # of candidates in question
        self._known: tuple[tuple[int, int], Ranking] | None = None

    def rounds(self) -> Iterator[list[Trial]]:
        """The trials of each round; the next round may be asked for when ``evidence`` has been told of them."""
        first = [self.lattice.size(octave * self.stride) for octave in FIRST_OCTAVES]
        yield self._trials(first, FIRST_SEEDS)
        yield from self._widen()
        yield from self._extend()
        while self.stride > 1 and self._ranking().candidates:
            self.settings = self._ranking().live(self.settings)
            finer = self._ranking().span(self.stride // 2)
            if len(finer) <= MOST_SIZES:
                self.stride //= 2
                yield self._trials(finer, FIRST_SEEDS)
                yield from self._widen()
                yield from self._extend()
            elif self.num_seeds < len(self.seeds):
                yield from self._more_seeds()
            else:
                break
        while self.num_seeds < len(self.seeds):
            self.settings = self._ranking().live(self.settings)
            yield from self._more_seeds()
        yield from self._complete()

    def found(self) -> Peak | None:
        """What is found so far; None where no run has a value."""
        ranking = self._ranking()
        best = ranking.chosen or ranking.best
        if best is None:
            return None
        low, high = ranking.bracket(best)
        return Peak(
            size=best.size,
            setting=best.setting,
            low=low,
            high=high,
            at_low=best.size <= self.lattice.low,
            at_high=best.size >= self.lattice.high,
            tried=tuple(self.tried),
            resolution=self.lattice.resolution(self.stride),
        )

    def num_grid_trials(self) -> int:
        """Trials of a grid of the resolution that was reached, over the range looked at, all settings and seeds."""
        sizes = self.evidence.sizes()
        points = self.lattice.between(sizes[0], sizes[-1], self.stride) if sizes else []
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
        while self.extends and (best := self._ranking().best) is not None:
            if best.setting == self.tried[0]:
                beyond = best.setting - 1
            elif best.setting == self.tried[-1]:
                beyond = best.setting + 1
            else:
                return
            if len(self.tried) >= self.num_given + MOST_EXTENDED:
                return
            self.settings, self.tried = sorted({*self.settings, beyond}), sorted({*self.tried, beyond})
            yield self._trials(self._ranking().span(self.stride), FIRST_SEEDS)

    def _widen(self) -> Iterator[list[Trial]]:
        """Goes on by octaves beyond an end at which the best may lie."""
        while True:
            sizes, near = self.evidence.sizes(), {c.size for c in self._ranking().near()}
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
        ranking = self._ranking()
        beside = ranking.neighbour(ranking.best) if ranking.best else []
        yield self._seeds_of([*ranking.near(), *beside])
        yield self._trials(self._ranking().span(self.stride), FIRST_SEEDS)

    def _complete(self) -> Iterator[list[Trial]]:
        """All seeds for every candidate that could be better than the best one that has them, and for its neighbour."""
        while True:
            ranking = self._ranking()
            best = ranking.chosen or ranking.best
            beside = ranking.neighbour(best) if best else []
            trials = self._seeds_of([*ranking.rivals(), *beside])
            if not trials:
                return
            yield trials

    def _seeds_of(self, candidates: Iterable[Candidate]) -> list[Trial]:
        return self.evidence.unknown(
            Trial(candidate.size, candidate.setting, seed)
            for candidate in candidates
            for seed in self.seeds[: self.num_seeds]
        )

    def _ranking(self) -> Ranking:
        # All live settings and every value enter; their numbers tell whether any has changed.
        state = (len(self.evidence.values), hash((self.stride, *self.settings)))
        if self._known is None or self._known[0] != state:
            ranking = Ranking(self.evidence, self.settings, self.seeds, self.lattice, self.stride)
            self._known = (state, ranking)
        return self._known[1]
