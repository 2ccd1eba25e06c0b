"""Restarts: trainings of one configuration and seed from other initial weights, of which the best one counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, RESTART, SIZE, Axes, configuration_keys, grouping
from memcap.compare.quantity import Quantity
from memcap.records.means import LOSSES, mean_and_half_width

NUM_RESTARTS = "num_restarts"


def best_restarts(frame: pd.DataFrame) -> pd.DataFrame:
    """Of each configuration, N, learning rate and seed the run with the smallest final loss among finished ones.

    Where all of its restarts have diverged, the first. A column ``num_restarts`` says of how many. The table itself
    where nothing was restarted, or the best were taken already. ``attrs["restarts"]``: the values of ``restart``.
    """
    if NUM_RESTARTS in frame or RESTART not in frame:
        return frame
    keys = [*configuration_keys(frame), SIZE]
    group_R = grouping(frame, list(dict.fromkeys(key for key in keys if key in frame))).to_numpy()
    counts_G = np.bincount(group_R)
    if counts_G.max(initial=0) < 2:
        return frame
    order_R = np.lexsort((_restart(frame), _rank(frame), group_R))
    first_G = order_R[np.r_[True, np.diff(group_R[order_R]) != 0]]
    chosen = np.sort(first_G)
    best = frame.iloc[chosen].reset_index(drop=True)
    best[NUM_RESTARTS] = counts_G[group_R[chosen]]
    best.attrs = {**frame.attrs, "restarts": sorted({int(value) for value in _restart(frame)})}
    return best


def best_of_restarts(frame: pd.DataFrame, axes: Axes, quantity: Quantity) -> pd.DataFrame:
    """What r restarts would have given, r = 1, 2, 4, ... up to all R: a row for each configuration, N, nuisance values
    and r. ``frame`` holds all runs. Empty where nothing was restarted.

    ``mean``, ``ci_low``, ``ci_high``: over seeds that have r restarts (``num_seeds``), with Student's 95 % interval, of
    the expectation of ``expected_best_of``, of the quantity that a capacity is counted in.
    """
    rows: list[dict[str, Any]] = []
    if best_restarts(frame) is not frame:
        usable = frame[~np.isnan(quantity.values(frame))]
        keys = [*axes.compared, SIZE, *axes.nuisance]
        for _, runs in usable.groupby(grouping(usable, keys).to_numpy(), sort=False):
            rows += _of_option(runs, axes, quantity)
    return pd.DataFrame(rows)


def expected_best_of(values_R: Sequence[float], count: int) -> float:
    r"""The value of the best of ``count`` runs drawn from R without replacement, in expectation; the best comes first.

    .. math:: E = \sum_{i=1}^{R - r + 1} \binom{R - i}{r - 1} v_i \Big/ \binom{R}{r}

    since v_i is the best of a subset where the other r - 1 are among the R - i behind it. Exact, so unbiased for r new
    restarts (the order statistics of a finite population).
    """
    total = len(values_R)
    chances = [math.comb(total - i, count - 1) / math.comb(total, count) for i in range(1, total + 1)]
    return math.fsum(chance * value for chance, value in zip(chances, values_R, strict=True))


def _of_option(runs: pd.DataFrame, axes: Axes, quantity: Quantity) -> Iterator[dict[str, Any]]:
    """The rows of one configuration at one N."""
    first = runs.iloc[0]
    order_R = np.lexsort((_restart(runs), _rank(runs)))
    values_R, seeds_R = quantity.values(runs)[order_R], runs[REPLICATE].to_numpy()[order_R]
    of_seeds = [values_R[seeds_R == seed].tolist() for seed in np.unique(seeds_R)]
    for count in _counts(max(map(len, of_seeds))):
        values = [expected_best_of(own, count) for own in of_seeds if len(own) >= count]
        mean, half = mean_and_half_width(values)
        margin = np.nan if half is None else half
        yield {
            **{key: first[key] for key in (*axes.compared, *axes.nuisance)},
            "num_samples": int(first[SIZE]), "best_of": count, "mean": mean,
            "ci_low": mean - margin, "ci_high": mean + margin, "num_seeds": len(values),
        }  # fmt: skip


def _counts(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return sorted({*(2**power for power in range(most.bit_length())), most})


def _rank(frame: pd.DataFrame) -> np.ndarray:
    """What is best is smallest: the final loss, infinite for a run that diverged."""
    values = np.full(len(frame), np.nan)
    for name in LOSSES:  # a run has one of them
        if name in frame:
            values = np.where(np.isnan(values), frame[name].to_numpy(dtype=float, na_value=np.nan), values)
    lost = (frame["status"] == "diverged").to_numpy() | np.isnan(values)
    return np.where(lost, np.inf, values)


def _restart(frame: pd.DataFrame) -> np.ndarray:
    """Older records have none: 0."""
    return frame[RESTART].fillna(0).to_numpy(dtype=np.int64)
