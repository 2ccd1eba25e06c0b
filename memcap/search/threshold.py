"""The smallest size at which a run succeeds with probability one half."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from memcap.search.lattice import Lattice
from memcap.search.psychometric import Threshold, threshold
from memcap.search.trial import Evidence, Trial

FIRST_OCTAVES = (-1, 0, 1)
FIRST_SEEDS = 2
LEAST_SEEDS = 4  # at the sizes in question, however sharp the interval looks: it was looked at often


@dataclasses.dataclass(frozen=True)
class Smallest:
    """The smallest size whose chance is at least 1/2 by the fitted curve, its nuisance setting, and a 95 % interval.

    at_low, at_high: the threshold lies at or beyond the smallest or largest size that may be asked for.
    tried: all settings that were. resolution: relative distance of neighbours at the last level.
    """

    size: int
    setting: int
    low: int
    high: int
    at_low: bool
    at_high: bool
    tried: tuple[int, ...]
    resolution: float


class ThresholdSearch:
    """Finds the smallest size with success in half of the runs, at the setting where that is smallest.

    Values are 1 for success and 0. The first round takes ratios of 2, two seeds, and goes on by octaves until the
    smallest size mostly fails and the largest mostly succeeds. Each level halves the stride and asks for the sizes
    inside the interval of the fitted curve (``psychometric.threshold``). Then seeds are doubled inside the interval and
    at its neighbours until it is no wider than the tolerance to either side, or seeds are used up. A setting is pruned
    when its interval lies above that of the best.
    """

    def __init__(self, lattice: Lattice, settings: Sequence[int], seeds: Sequence[int]) -> None:
        self.lattice, self.seeds = lattice, list(seeds)
        self.evidence = Evidence()
        self.settings = list(settings)  # those still in question
        self.tried = list(settings)
        self._known: tuple[int, dict[int, Threshold]] = (-1, {})

    def rounds(self) -> Iterator[list[Trial]]:
        """The trials of each round; the next round may be asked for when ``evidence`` has been told of them."""
        stride = self.lattice.per_octave
        first = [self.lattice.size(octave * stride) for octave in FIRST_OCTAVES]
        yield self._trials(dict.fromkeys(self.settings, first), FIRST_SEEDS)
        yield from self._widen()
        while stride > 1:
            stride //= 2
            self._prune()
            yield self._trials(self._inside(stride), FIRST_SEEDS)
        count = FIRST_SEEDS
        while count < len(self.seeds):
            count = min(2 * count, len(self.seeds))
            self._prune()
            if count > LEAST_SEEDS and self._is_sharp():
                return
            yield self._trials(self._inside(1), count)

    def found(self) -> Smallest | None:
        """What is found so far; None where no run has a value."""
        fits = self._fits()
        if not fits:
            return None
        setting, fit = min(fits.items(), key=lambda item: (item[1].size, item[0]))
        size = min(max(math.ceil(fit.size - 1e-9), self.lattice.low), self.lattice.high)
        low, high = self.lattice.low, self.lattice.high
        return Smallest(
            size=size,
            setting=setting,
            low=max(low, math.ceil(fit.low)),
            high=high if math.isinf(fit.high) else min(high, math.ceil(fit.high)),
            at_low=size <= low,
            at_high=self._share(setting, high) <= 0.5 and size >= high,
            tried=tuple(self.tried),
            resolution=self.lattice.resolution(1),
        )

    def num_grid_trials(self) -> int:
        """Trials of a grid of the same resolution over the range that was looked at, all settings and seeds."""
        sizes = self.evidence.sizes()
        points = self.lattice.between(sizes[0], sizes[-1]) if sizes else []
        return len(points) * len(self.tried) * len(self.seeds)

    # -- rounds ---------------------------------------------------------------------------------------

    def _trials(self, sizes: dict[int, list[int]], num_seeds: int) -> list[Trial]:
        return self.evidence.unknown(
            Trial(size, setting, seed)
            for setting in self.settings
            for size in sizes.get(setting, [])
            for seed in self.seeds[:num_seeds]
        )

    def _widen(self) -> Iterator[list[Trial]]:
        """By octaves, until the smallest size mostly fails and the largest mostly succeeds, for every setting."""
        octave = self.lattice.per_octave
        while True:
            wider: dict[int, list[int]] = {}
            for setting in self.settings:
                sizes = self.evidence.sizes(setting)
                if not sizes:
                    continue
                if self._share(setting, sizes[0]) >= 0.5:
                    down = math.floor(self.lattice.position(sizes[0]) / octave) * octave - octave
                    wider.setdefault(setting, []).append(self.lattice.size(down))
                # One setting that succeeds bounds the smallest size from above; the others need not.
                if all(self._share(s, sizes[-1]) <= 0.5 for s in self.settings):
                    up = math.ceil(self.lattice.position(sizes[-1]) / octave) * octave + octave
                    wider.setdefault(setting, []).append(self.lattice.size(up))
            trials = self._trials(wider, FIRST_SEEDS)
            if not trials:
                return
            yield trials

    # -- judgement ------------------------------------------------------------------------------------

    def _share(self, setting: int, size: int) -> float:
        values = self.evidence.at(size, setting)
        return sum(values) / len(values) if values else 0.0

    def _fits(self) -> dict[int, Threshold]:
        if self._known[0] == len(self.evidence.values):
            return {setting: fit for setting, fit in self._known[1].items() if setting in self.settings}
        fits = {}
        for setting in self.settings:
            sizes = self.evidence.sizes(setting)
            if sizes:
                values = [self.evidence.at(size, setting) for size in sizes]
                successes, trials = [sum(v) for v in values], [len(v) for v in values]
                fits[setting] = threshold(np.array(sizes), np.array(successes), np.array(trials))
        self._known = (len(self.evidence.values), fits)
        return fits

    def _inside(self, stride: int) -> dict[int, list[int]]:
        """Sizes of a level inside each setting's interval, with the evaluated neighbours that bound it."""
        found = {}
        for setting, fit in self._fits().items():
            sizes = self.evidence.sizes(setting)
            low = max((s for s in sizes if s <= fit.low), default=sizes[0])
            high = min((s for s in sizes if s >= fit.high), default=sizes[-1])
            found[setting] = self.lattice.between(low, high, stride)
        return found

    def _is_sharp(self) -> bool:
        fit = min(self._fits().values(), default=None)
        wide = 1 + self.lattice.tolerance
        return fit is not None and fit.low > 0 and fit.high / fit.size <= wide and fit.size / fit.low <= wide

    def _prune(self) -> None:
        fits = self._fits()
        if fits:
            best = min(fits.values())
            self.settings = [s for s in self.settings if s in fits and fits[s].low <= best.high]
