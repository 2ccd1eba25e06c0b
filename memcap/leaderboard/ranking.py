"""The board's numbers: bits on fresh seeds, and how far behind the leader on the same seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, find_axes
from memcap.compare.capacity import capacity, configurations
from memcap.compare.quantity import Quantity
from memcap.leaderboard.choosing import Choice, Trial, choose, runs_of
from memcap.leaderboard.entry import Entry
from memcap.leaderboard.protocol import RATE, Protocol
from memcap.records.means import mean_and_half_width

LEVEL = 0.05
MEASURED = ("bits", "ci_low", "ci_high", "bits_per_parameter", "share", "diverged_share")


def ranking(
    frame: pd.DataFrame,
    entries: Sequence[Entry],
    protocol: Protocol,
    added: Collection[str] = (),
    asked: Collection[Trial] = (),
) -> pd.DataFrame:
    """One row per activation, most bits first; those of whose fresh runs none has a result are last.

    ``asked``: what the rounds asked for; a run of these that is not there has failed (``choosing.choose``).

    ==========================  ==================================================================================
    rank, name, formula, why    ``formula``: what is computed; ``added``: by this call
    learning_rate               the rate with the largest mean bits over the choosing seeds (``compare.capacity``)
    bits, ci_low, ci_high       mean over the fresh seeds there, a diverged run counting 0, and its 95 % interval
                                (Student's t over seeds)
    bits_per_parameter, share   of all parameters; of what all samples are worth, N log2 V
    diverged_share, num_seeds   of the fresh runs that have a result: a row with fewer seeds is ranked by those
    behind, _low, _high         bits of the leader minus these on the same fresh seeds, with a paired 95 % interval
    p_holm, told_apart          of a paired t test of ``behind`` = 0, corrected for all rows that have one (Holm 1979);
                                below 0.05. NaN and False for the leader, and with fewer than two equal seeds
    missing                     which runs have no result, as in "8 of 8 fresh"; bits are NaN where all fresh ones lack
    flags, num_parameters       of ``memcap.compare.capacity``; ``nuisance_edge``: the best rate is still at an edge
    ==========================  ==================================================================================

    The leader leads on the seeds that it is compared on, so what is behind it looks a little further behind than it is.
    """
    rows, values = [], []
    everything = _all_bits(frame)
    for entry in entries:
        row, bits = _row(runs_of(frame, entry), entry, protocol, everything, asked)
        rows.append({**row, "added": entry.name in added})
        values.append(bits)
    order = sorted(range(len(rows)), key=lambda i: (not values[i], -rows[i]["bits"], rows[i]["name"]))
    table = pd.DataFrame([rows[i] for i in order])
    if len(table):
        table.insert(0, "rank", range(1, len(table) + 1))
        behind = [_behind(values[order[0]], values[i]) for i in order]
        for number, name in enumerate(("behind", "behind_low", "behind_high")):
            table[name] = [found[number] for found in behind]
        table["p_holm"] = holm([found[3] for found in behind])
        table["told_apart"] = table["p_holm"] < LEVEL
    return table


def _all_bits(frame: pd.DataFrame) -> float:
    """What all samples of a run are worth, N log2 V; NaN where every run diverged."""
    if not len(frame):
        return np.nan
    bits = Quantity.of("bits", frame).diagonal(frame)
    return float(bits[~np.isnan(bits)].mean()) if not np.isnan(bits).all() else np.nan


def _row(
    runs: pd.DataFrame, entry: Entry, protocol: Protocol, everything: float, asked: Collection[Trial]
) -> tuple[dict[str, Any], dict[int, float]]:
    """An activation's row without its rank, and its bits by fresh seed."""
    choice = choose(entry, runs, protocol, asked)
    first = {"name": entry.name, "formula": entry.text, "learning_rate": choice.best or np.nan}
    last = {"why": entry.why, "missing": _missing(runs, choice, protocol)}
    if choice.best is None or not (measures := _are_at(runs, [choice.best], protocol.fresh)).any():
        none = {"num_seeds": 0, "num_parameters": protocol.config.num_parameters, "flags": ""}
        return {**first, **dict.fromkeys(MEASURED, np.nan), **none, **last}, {}
    chooses = _are_at(runs, choice.rates, protocol.choosing)
    # Of one rate nothing is chosen, and only fresh seeds are to count all the same.
    used = runs[chooses | measures] if runs[chooses][RATE].nunique() > 1 else runs[measures]
    selection = sorted(set(used[REPLICATE]) & set(protocol.choosing)) or None
    (row,) = capacity(used, nuisance=(RATE,), selection_seeds=selection).to_dict("records")
    axes, quantity = find_axes(used, nuisance=(RATE,)), Quantity.of("bits", used)
    (cells,) = configurations(used, axes, quantity)
    measured = cells.measured(set(selection) if selection else None)
    fresh = cells.fresh_rows(measured)
    bits = row["capacity_bits"]
    found = {
        **first,
        "bits": bits,
        "ci_low": row["ci_low"],
        "ci_high": row["ci_high"],
        "bits_per_parameter": bits / row["num_parameters"],
        "share": bits / everything,
        "diverged_share": row["diverged_share"],
        "num_seeds": row["num_seeds"],
        "num_parameters": row["num_parameters"],
        "flags": row["flags"],
        **last,
    }
    return found, dict(zip(fresh[REPLICATE].tolist(), measured.values_S.tolist(), strict=True))


def _are_at(runs: pd.DataFrame, rates: Collection[float], seeds: Collection[int]) -> pd.Series[bool]:
    """Which runs are at one of these rates with one of these seeds."""
    return runs[RATE].isin(rates) & runs[REPLICATE].isin(seeds)


def _missing(runs: pd.DataFrame, choice: Choice, protocol: Protocol) -> str:
    """How many of the runs that choose, and of those that measure, have no result."""
    fresh = [] if choice.best is None else [choice.best]
    parts = []
    for kind, rates, seeds in (
        ("choosing", choice.rates, protocol.choosing),
        ("fresh", fresh, protocol.fresh),
    ):
        there = int(_are_at(runs, rates, seeds).sum()) if len(runs) else 0
        expected = max(len(rates), 1) * len(seeds)
        if there < expected:
            parts.append(f"{expected - there} of {expected} {kind}")
    return ", ".join(parts)


def _behind(leader: dict[int, float], own: dict[int, float]) -> tuple[float, float, float, float]:
    """Mean difference over the seeds that both have, its 95 % interval, and the p of a paired t test (none of one)."""
    from scipy.special import stdtr

    differences = [leader[seed] - own[seed] for seed in sorted(leader.keys() & own.keys())]
    if own and leader is own:
        return 0.0, np.nan, np.nan, np.nan
    if not differences:
        return (np.nan,) * 4
    mean, half = mean_and_half_width(differences)
    if half is None:
        return mean, np.nan, np.nan, np.nan
    error = float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    t = abs(mean) / error if error else (np.inf if mean else 0.0)
    return mean, mean - half, mean + half, float(2 * stdtr(len(differences) - 1, -t))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values corrected for their number, NaN where there is none: max over the smaller ones of (how many are left) p.

    Holm, 1979, Scandinavian Journal of Statistics 6, 65: the chance of any false "told apart" is at most the level.
    """
    p = np.asarray(p_values, dtype=float)
    corrected = np.full(p.shape, np.nan)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    largest = 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p[i]))
        corrected[i] = largest
    return corrected
