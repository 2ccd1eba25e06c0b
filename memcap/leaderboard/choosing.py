"""The learning rate of each activation, and the runs that it still lacks: a function of the records alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, find_axes
from memcap.compare.capacity import Configuration
from memcap.compare.quantity import Quantity
from memcap.compare.seed_split import best_option
from memcap.leaderboard.entry import Entry
from memcap.leaderboard.protocol import RATE, Protocol

DIGITS = 6  # of a rate beyond the edge: 3 times 0.1 is 0.3 as one types it, which has the same id


class Trial(NamedTuple):
    """One run: an activation at a learning rate with a seed."""

    entry: Entry
    rate: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Choice:
    """The rates that an activation was to be run at, the best of them (None before any run has a value), and what is
    still to be run."""

    rates: tuple[float, ...]
    best: float | None
    lacking: tuple[Trial, ...]


def choose(entry: Entry, runs: pd.DataFrame, protocol: Protocol, asked: Collection[Trial] = ()) -> Choice:
    """The rate with the largest mean bits over the choosing seeds, and the next runs.

    First all given rates; then, as often as ``extra_rates`` allows, one beyond the edge that is the best; then the
    fresh seeds at the best. ``runs``: those of this activation. ``asked``: what was asked for before; a run of these
    that is not there has failed and is not asked for again.
    """
    known = set(zip(runs[RATE].tolist(), runs[REPLICATE].tolist(), strict=True)) if len(runs) else set()
    rates, best = protocol.options.rates(), None

    def lacking(trials: Sequence[Trial]) -> tuple[Trial, ...]:
        return tuple(t for t in trials if (t.rate, t.seed) not in known and t not in asked)

    for extra in range(protocol.options.extra_rates + 1):
        missing = lacking([Trial(entry, rate, seed) for rate in rates for seed in protocol.choosing])
        best = best_rate(runs, rates, protocol.choosing)
        if missing:
            return Choice(tuple(rates), best, missing)
        if best is None or best not in (rates[0], rates[-1]) or extra == protocol.options.extra_rates:
            break
        rates = sorted([*rates, beyond(rates, above=best == rates[-1])])
    fresh = [] if best is None else [Trial(entry, best, seed) for seed in protocol.fresh]
    return Choice(tuple(rates), best, lacking(fresh))


def best_rate(runs: pd.DataFrame, rates: Sequence[float], seeds: Collection[int]) -> float | None:
    """The rate that ``memcap.compare.capacity`` chooses on these seeds; None where no run has a value."""
    if not len(runs):
        return None
    rows = runs[runs[RATE].isin(rates) & runs[REPLICATE].isin(seeds)]
    bits = Quantity.of("bits", runs).values(rows) if len(rows) else np.empty(0)
    rows, bits = rows[~np.isnan(bits)], bits[~np.isnan(bits)]
    if not len(rows):
        return None
    if rows[RATE].nunique() == 1:
        return float(rows[RATE].iloc[0])
    cells = Configuration(rows, find_axes(rows, nuisance=(RATE,)), bits)
    return float(cells.nuisance_O[RATE].iloc[best_option(cells.values_SO)])


def beyond(rates: Sequence[float], *, above: bool) -> float:
    """The next rate beyond an edge of ascending ones: ..., 0.01, 0.03, 0.1 go on with 0.3, 1; of one, by a factor of 3.

    The steps of a grid alternate (3, 3.33, 3, ...), so the step before the last one is taken.
    """
    steps = [b / a for a, b in itertools.pairwise(rates)] or [3.0]
    if above:
        return float(f"{rates[-1] * steps[max(len(steps) - 2, 0)]:.{DIGITS}g}")
    return float(f"{rates[0] / steps[min(1, len(steps) - 1)]:.{DIGITS}g}")


def runs_of(frame: pd.DataFrame, entry: Entry) -> pd.DataFrame:
    """The rows of one activation, ``attrs`` kept."""
    if not len(frame):
        return frame
    keys = ("activation.kind", "activation.formula", "activation.frequency")
    mask = np.ones(len(frame), dtype=bool)
    for key, value in zip(keys, entry.key, strict=True):
        column = frame[key] if key in frame else pd.Series([None] * len(frame), index=frame.index)
        mask &= (column.isna() if value is None else column == value).to_numpy(dtype=bool)
    return frame[mask]
