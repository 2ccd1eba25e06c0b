"""What a figure is made of: a comparison, a part of it, and the keys that vary there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.comparison import Comparison, compare
from memcap.compare.matching import row_keys
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


def parts(comparison: Comparison, keys: Sequence[str]) -> dict[tuple[Any, ...], Comparison]:
    """The comparison for each combination of values of these keys alone, numbers unchanged; of no keys, all of it."""
    found = list(dict.fromkeys(row_keys(comparison.capacity, keys)))
    tables = {
        name: _split(getattr(comparison, name), keys, found)
        for name in ("frame", "capacity", "curves", "fits", "jamming", "ledger")
    }
    return {
        value: dataclasses.replace(
            comparison,
            frame=tables["frame"][i],
            capacity=tables["capacity"][i],
            curves=tables["curves"][i],
            fits=tables["fits"][i],
            jamming=tables["jamming"][i],
            ledger=tables["ledger"][i],
        )
        for i, value in enumerate(found)
    }


def _split(table: pd.DataFrame, keys: Sequence[str], found: Sequence[tuple[Any, ...]]) -> list[pd.DataFrame]:
    """The rows of each combination; a key that is no column (of a table of fits) does not choose."""
    there = [place for place, key in enumerate(keys) if key in table]
    if not there:
        return [table] * len(found)
    wanted = [tuple(value[place] for place in there) for value in found]
    number = {value: n for n, value in enumerate(dict.fromkeys(wanted))}
    own = np.array([number.get(key, -1) for key in row_keys(table, [keys[place] for place in there])])
    return [table[own == number[value]] for value in wanted]


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
