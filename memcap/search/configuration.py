"""The search of one configuration: look, confirm on fresh seeds, and with more steps."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from memcap.records.means import mean_and_half_width
from memcap.search.trial import Evidence, Trial


class Told(NamedTuple):
    """What became of a trial: the value that is searched by, None where it failed, and what the report counts.

    diagonal: the value if every sample were memorized (bits), None where that is not known.
    """

    value: float | None
    steps: int = 0
    is_diverged: bool = False
    diagonal: float | None = None


class Gain(NamedTuple):
    """Relative growth of the mean bits with a doubling of steps, with its 95 % interval; None of one seed."""

    value: float
    low: float | None
    high: float | None


class Found(Protocol):
    """What ``Peak`` and ``Smallest`` have in common."""

    @property
    def size(self) -> int: ...
    @property
    def setting(self) -> int: ...
    @property
    def low(self) -> int | None: ...
    @property
    def high(self) -> int | None: ...
    @property
    def at_low(self) -> bool: ...
    @property
    def at_high(self) -> bool: ...
    @property
    def tried(self) -> tuple[int, ...]: ...
    @property
    def resolution(self) -> float: ...


class Search(Protocol):
    """A search over size and setting; ``rounds`` goes on from what ``evidence`` was told of its last trials."""

    evidence: Evidence

    def rounds(self) -> Iterator[list[Trial]]: ...

    def found(self) -> Found | None: ...

    def num_grid_trials(self) -> int: ...


@dataclasses.dataclass
class ConfigurationSearch:
    """One configuration's rounds and what they told.

    confirms_below: fresh seeds also at the size just below the found one (of a threshold, where that one must fail).
    """

    search: Search
    fresh_seeds: Sequence[int]
    budget_doublings: int = 0
    budget_tolerance: float = 0.02
    confirms_below: bool = False
    told: dict[Trial, Told] = dataclasses.field(default_factory=dict)
    found: Found | None = None
    num_rounds: int = 0

    def rounds(self) -> Iterator[list[Trial]]:
        """The trials of each round, none of them empty or asked for twice; the last ones on fresh seeds."""
        for trials in self._rounds():
            trials = [trial for trial in trials if trial not in self.told]
            if trials:
                self.num_rounds += 1
                yield trials

    def tell(self, told: Mapping[Trial, Told]) -> None:
        self.told.update(told)
        choosing = {trial: entry.value for trial, entry in told.items() if self.found is None}
        self.search.evidence.tell(choosing)

    def fresh(self, doublings: int = 0, size: int | None = None) -> dict[int, Told]:
        """By fresh seed, what was measured at the found size (or another) with so many times doubled steps."""
        if self.found is None:
            return {}
        at = self.found.size if size is None else size
        trials = {seed: Trial(at, self.found.setting, seed, doublings) for seed in self.fresh_seeds}
        return {seed: self.told[trial] for seed, trial in trials.items() if trial in self.told}

    def gain(self, doublings: int) -> Gain | None:
        """By how much the mean grew with the last doubling of steps, over seeds that have both; None of no seed.

        R − 1 with R = mean(new) / mean(old), and the 95 % interval of the ratio of paired means from its residuals
        new − R old (delta method; Student's t).
        """
        before, after = self.fresh(doublings - 1), self.fresh(doublings)
        pairs = [
            (old, new)
            for seed in after
            if seed in before
            and (old := before[seed].value) is not None
            and (new := after[seed].value) is not None
        ]
        if not pairs or not (mean := statistics.fmean(old for old, _ in pairs)):
            return None
        ratio = statistics.fmean(new for _, new in pairs) / mean
        _, half = mean_and_half_width([(new - ratio * old) / mean for old, new in pairs])
        ends = (None, None) if half is None else (ratio - 1 - half, ratio - 1 + half)
        return Gain(ratio - 1, *ends)

    def is_settled(self, doublings: int) -> bool:
        """Whether the last doubling certainly gained less than the tolerance: the interval's upper end is below."""
        gain = self.gain(doublings)
        return gain is not None and gain.high is not None and gain.high < self.budget_tolerance

    def _rounds(self) -> Iterator[list[Trial]]:
        yield from self.search.rounds()
        found = self.search.found()
        if found is None:
            return
        self.found = found
        sizes = [found.size - 1] if self.confirms_below and not found.at_low else []
        yield [Trial(size, found.setting, seed) for size in [*sizes, found.size] for seed in self.fresh_seeds]
        for doublings in range(1, self.budget_doublings + 1):
            yield [Trial(found.size, found.setting, seed, doublings) for seed in self.fresh_seeds]
            if self.gain(doublings) is None or self.is_settled(doublings):
                return


def advance_together(
    searches: Sequence[ConfigurationSearch],
) -> Iterator[list[tuple[int, Trial]]]:
    """The next round of every search that is not over, as one list of (which search, trial).

    Populations are large because all configurations are in the same round. Tell each search before the next round.
    """
    running = {number: search.rounds() for number, search in enumerate(searches)}
    while running:
        batch: list[tuple[int, Trial]] = []
        for number, rounds in list(running.items()):
            trials = next(rounds, None)
            if trials is None:
                del running[number]
            else:
                batch += [(number, trial) for trial in trials]
        if batch:
            yield batch
