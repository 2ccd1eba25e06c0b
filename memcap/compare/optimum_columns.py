"""What ``memcap.oracle`` found of the runs of a study, as columns of their table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

BITS, SAMPLES, GAP, SEPARABLE = (
    "optimum/bits",
    "optimum/memorized_samples",
    "optimum/gap_bits",
    "optimum/separable",
)
SEPARABLE_SIZE = "optimum/separable_num_samples"
FILES = {"optimum_bits": BITS, "optimum_memorized": SAMPLES, "gap_bits": GAP, "separable": SEPARABLE}


def with_optimum(table: pd.DataFrame, gaps: Iterable[Path]) -> pd.DataFrame:
    """The table with ``optimum/bits``, ``optimum/gap_bits`` and kin of the runs that these files know.

    What a run has measured itself (``measure.optimum``) stays. gaps: ``oracle/gaps.csv`` of studies; one that is not
    there, or is no such table, adds nothing.
    """
    found = [part for path in gaps if (part := _read(path)) is not None]
    if not found:
        return table
    joined = with_gaps(table, pd.concat(found))
    for name in set(FILES.values()) & set(table.columns):
        joined[name] = table[name].where(table[name].notna(), joined[name])
    return joined


def with_gaps(table: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """The same from a table of ``memcap.oracle.linear_runs.optimality_gaps``; where both have a value, theirs."""
    known = gaps.drop_duplicates("run_id", keep="last").set_index("run_id")
    columns = {name: table["run_id"].map(known[column]).astype(float) for column, name in FILES.items()}
    for name in set(columns) & set(table.columns):  # of runs that these gaps do not know
        columns[name] = columns[name].where(columns[name].notna(), table[name].astype(float))
    kept = table.drop(columns=[name for name in columns if name in table])
    joined = pd.concat([kept, pd.DataFrame(columns, index=table.index)], axis=1)
    joined.attrs = table.attrs
    return joined


def _read(path: Path) -> pd.DataFrame | None:
    try:
        table = pd.read_csv(path, dtype={"run_id": str})
    except (OSError, ValueError):  # not asked yet, or no table
        return None
    return table if {"run_id", *FILES} <= set(table.columns) else None
