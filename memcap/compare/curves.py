"""Bits against N for each configuration, with bands from resampled seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import SIZE, Axes, find_axes
from memcap.compare.capacity import Configuration, configurations
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import best_restarts
from memcap.compare.seed_split import measure_chosen

RESAMPLES = 1000
LEVEL = 0.95


def curves(
    frame: pd.DataFrame,
    *,
    y: str = "bits",
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each configuration and N: compared keys, ``num_samples``, ``mean``, ``low``, ``high``, ``num_seeds``,
    ``diverged_share``, ``diagonal`` (all memorized), in units of ``y``.

    At each N the nuisance values are chosen on other seeds than those that are averaged, as for ``capacity``. The band
    is a 95 % bootstrap interval of the mean (1000 resamples of the seeds, drawn from ``seed``, the same everywhere),
    with the percentiles expanded for few seeds (Hesterberg 2015, arXiv 1411.5279): of two or three seeds it is their
    range. One seed has no band (NaN).
    """
    frame = best_restarts(frame)
    axes = find_axes(frame, x=x, hue=hue, facet=facet, nuisance=nuisance)
    quantity = Quantity.of(y, frame)
    rows: list[dict[str, Any]] = []
    values: list[np.ndarray] = []
    for cells in configurations(frame, axes, quantity):
        for row, value in _points(cells, axes, quantity):
            rows.append(row)
            values.append(value)
    low, high = bootstrap_bands(values, seed)
    table = pd.DataFrame(rows)
    at = list(table.columns).index("mean") + 1 if rows else 0
    table.insert(at, "low", low)
    table.insert(at + 1, "high", high)
    table.attrs = {"axes": axes, "quantity": quantity}
    return table


def bootstrap_bands(values: Sequence[np.ndarray], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of the interval of each mean, [len(values)]; NaN where there is one value."""
    from scipy.special import ndtr, stdtrit

    low, high = np.full(len(values), np.nan), np.full(len(values), np.nan)
    sizes = np.array([len(value) for value in values])
    for size in np.unique(sizes[sizes > 1]):
        drawn_BS = np.random.default_rng([seed, int(size)]).integers(size, size=(RESAMPLES, size))
        tail = ndtr(-np.sqrt(size / (size - 1)) * stdtrit(size - 1, (1 + LEVEL) / 2))
        at = np.flatnonzero(sizes == size)
        for part in np.array_split(at, max(1, len(at) * int(size) * RESAMPLES // 10_000_000)):
            stacked_CS = np.stack([values[number] for number in part])
            means_CB = stacked_CS[:, drawn_BS].mean(2)
            low[part], high[part] = np.quantile(means_CB, [tail, 1 - tail], axis=1)
    return low, high


def _points(
    cells: Configuration, axes: Axes, quantity: Quantity
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    first = cells.rows.iloc[0]
    diverged_R = (cells.rows["status"] == "diverged").to_numpy()
    diagonal_R = quantity.diagonal(cells.rows)
    size_R = cells.rows[SIZE].to_numpy()
    for size in np.unique(cells.sizes_O):
        options = np.flatnonzero(cells.sizes_O == size)
        there_S = ~np.isnan(cells.values_SO[:, options]).all(1)
        measured = measure_chosen(cells.values_SO[np.ix_(there_S, options)])
        if not len(measured.values_S):
            continue
        places = cells.positions_SO[np.ix_(there_S, options)][measured.rows_S, measured.options_S]
        known = diagonal_R[(size_R == size) & ~np.isnan(diagonal_R)]
        row = {
            **{key: first[key] for key in axes.compared},
            "num_samples": int(size),
            "mean": measured.values_S.mean(),
            "num_seeds": len(measured.values_S),
            "diverged_share": diverged_R[places].mean(),
            "diagonal": known.mean() if len(known) else np.nan,
        }
        yield row, measured.values_S
