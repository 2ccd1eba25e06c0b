"""Which rows of two tables of a comparison belong together: by the values of the keys that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison


def row_keys(table: pd.DataFrame, names: Iterable[str]) -> list[tuple[Any, ...]]:
    """The values of these columns row by row, comparable: absent values are equal, lists are text."""
    columns = [_comparable_values(table[name]) for name in names]
    return list(zip(*columns, strict=True)) if columns else [()] * len(table)


def _comparable_values(column: pd.Series) -> list[Any]:
    plain = column.dtype.kind in "iub" or (pd.api.types.is_numeric_dtype(column) and not column.hasnans)
    return column.tolist() if plain else [comparable(value) for value in column.tolist()]


def comparable(value: Any) -> Any:
    """A value that can be looked up and equals itself: None for NaN, text for a list."""
    if isinstance(value, list | dict):
        return repr(value)
    return None if value is None or value != value else value


def matching(table: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows with these values, ``attrs`` kept; keys that are no column of the table do not choose."""
    names = [name for name in where if name in table]
    wanted = tuple(comparable(where[name]) for name in names)
    return table[np.array([key == wanted for key in row_keys(table, names)], dtype=bool)]


def configuration_of(table: pd.DataFrame, comparison: Comparison) -> np.ndarray:
    """The row in ``comparison.capacity`` of each row of a table with the compared keys; −1 where there is none."""
    names = comparison.axes.compared
    numbers = {key: number for number, key in enumerate(row_keys(comparison.capacity, names))}
    return np.array([numbers.get(key, -1) for key in row_keys(table, names)], dtype=int)


def configuration_at_best_nuisance(comparison: Comparison) -> np.ndarray:
    """The same for each run; −1 also for an infinite N, or other nuisance values than its configuration's best."""
    frame, axes = comparison.frame, comparison.axes
    configuration_R = configuration_of(frame, comparison)
    best = row_keys(comparison.capacity, [f"best.{key}" for key in axes.nuisance])
    own = row_keys(frame, axes.nuisance)
    at_best_R = np.array([c >= 0 and own[r] == best[c] for r, c in enumerate(configuration_R)], dtype=bool)
    return np.where(at_best_R & frame[SIZE].notna().to_numpy(), configuration_R, -1)


def restarts_at_capacity(comparison: Comparison, capacity: pd.Series) -> pd.DataFrame:
    """What the best of r restarts gives, a row per r, at the N and nuisance values of one row of the capacity table.

    Columns best_of, mean, ci_low, ci_high, num_seeds.
    """
    axes = comparison.axes
    at = {key: capacity[key] for key in axes.compared} | {"num_samples": capacity["best_num_samples"]}
    at |= {key: capacity[f"best.{key}"] for key in axes.nuisance}
    columns = [*at, "best_of", "mean", "ci_low", "ci_high", "num_seeds"]
    return matching(comparison.restarts[columns], at).sort_values("best_of")
