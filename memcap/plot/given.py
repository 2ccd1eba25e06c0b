"""What a figure is made of: a comparison, a part of it, and the keys that vary there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from memcap.compare.comparison import Comparison, compare
from memcap.compare.matching import matching, row_keys
from memcap.errors import BadInput, nearest


def as_comparison(given: Comparison | pd.DataFrame) -> Comparison:
    """A comparison as it is, or that of a table of runs; BadInput for anything else."""
    if isinstance(given, Comparison):
        return given
    if isinstance(given, pd.DataFrame) and "run_id" in given:
        return compare(given)
    raise BadInput(
        f"a figure takes a table of runs (memcap.load_frame) or memcap.comparison(table), got {type(given).__name__}"
    )


def part(comparison: Comparison, where: Mapping[str, Any]) -> Comparison:
    """The comparison of the runs with these values alone, its numbers unchanged."""
    if not where:
        return comparison
    return dataclasses.replace(
        comparison,
        frame=matching(comparison.frame, where),
        capacity=matching(comparison.capacity, where),
        curves=matching(comparison.curves, where),
        fits=matching(comparison.fits, where),
        jamming=matching(comparison.jamming, where),
        ledger=matching(comparison.ledger, where),
    )


def varying(comparison: Comparison, keys: Iterable[str]) -> tuple[str, ...]:
    """Those of the keys with more than one value among the configurations."""
    return tuple(key for key in keys if len(set(row_keys(comparison.capacity, [key]))) > 1)


def checked_keys(comparison: Comparison, keys: str | Iterable[str]) -> tuple[str, ...]:
    """One compared key or several, as a tuple; BadInput for one that is not compared."""
    names = (keys,) if isinstance(keys, str) else tuple(keys)
    for name in names:
        if name not in comparison.axes.compared:
            known = ", ".join(comparison.axes.shown) or "none"
            raise BadInput(
                f"{name} is no key that these runs compare{nearest(name, comparison.axes.compared)}; compared: {known}"
            )
    return names


def require(table: pd.DataFrame, metric: str) -> None:
    """BadInput unless some row has a number for the metric."""
    if metric not in table or not table[metric].notna().any():
        measured = sorted(str(name) for name in table if "/" in str(name) and table[name].notna().any())
        raise BadInput(f"{metric} was not measured in these runs{nearest(metric, measured)}")
