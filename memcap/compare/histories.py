"""Measurements along the way of the runs that figures and reports draw: which runs, and their histories as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_at_best_nuisance
from memcap.records.run_folder import RunFolder

STEP = "train/step"
MOST_RUNS = 200
NEIGHBOURS = 1  # places on the grid of N on each side of the best one


def load_histories(
    frame: pd.DataFrame, metrics: Sequence[str] | None = None, *, at_most: int = MOST_RUNS
) -> pd.DataFrame:
    """The histories of the runs of a table, one below the other: ``run_id``, ``train/step`` and a column per metric.

    A row for each run and measurement, runs in the table's order, steps rising; NaN where a value is absent or not
    finite. metrics: names of docs/MEASURES.md, each a column whether measured or not; None: all that any run has.
    at_most: runs to read, each a file of its own; of more runs an even choice over the table is read.

    Nothing in a file is an error: a torn last line is left out, and a run whose history is missing or unreadable has no
    rows. ``attrs``: ``unusable``, the ids of such runs; ``num_not_read``, how many were beyond ``at_most``. 200 runs
    with 20 measurements each take 0.3 s.
    """
    chosen = _evenly(frame["run_id"].tolist(), at_most)
    root = Path(frame.attrs.get("outputs", "outputs"))
    rows: list[dict[str, Any]] = []
    unusable: list[str] = []
    for run_id in chosen:
        own = _rows(root, run_id)
        rows += own
        if not own:
            unusable.append(run_id)
    table = _table(rows, metrics)
    table.attrs = {"unusable": unusable, "num_not_read": len(frame) - len(chosen)}
    return table


def runs_to_draw(comparison: Comparison, at_most: int = MOST_RUNS) -> pd.DataFrame:
    """The runs of each configuration at its best N and nuisance values, and at the N before and after it.

    Rows of ``comparison.frame`` in its order and with its ``attrs``, so that ``load_histories`` takes them, with one
    more column ``places_from_best``: 0 at the best N, −1 and 1 at its neighbours on the grid. Of more than ``at_most``
    runs those at the best N are kept first, and of these a run of every configuration before the second of any; of
    more configurations than that, an even choice. The same table gives the same runs.
    """
    frame, table = comparison.frame, comparison.capacity
    configuration_R = configuration_at_best_nuisance(comparison)
    runs = pd.DataFrame({
        "configuration": configuration_R, "size": frame[SIZE].to_numpy(dtype=float, na_value=np.nan),
        "seed": frame[REPLICATE].to_numpy(), "row": np.arange(len(frame)),
    })[configuration_R >= 0]  # fmt: skip
    runs["places"] = _places_from(runs, table["best_num_samples"].to_numpy(dtype=float))
    runs = runs[runs["places"].abs() <= NEIGHBOURS]
    kept = _evenly(sorted(runs["configuration"].unique()), at_most)
    runs = runs[runs["configuration"].isin(kept)].sort_values(["configuration", "places", "seed", "row"])
    runs["turn"] = runs.groupby(["configuration", "places"]).cumcount()
    runs["away"] = runs["places"].abs()
    first = runs.sort_values(["away", "turn", "configuration", "places"], kind="stable").head(at_most)
    first = first.sort_values("row")
    chosen = frame.iloc[first["row"].to_numpy()].copy()
    chosen["places_from_best"] = first["places"].to_numpy()
    chosen.attrs = dict(frame.attrs)
    return chosen


def _places_from(runs: pd.DataFrame, best_size_C: np.ndarray) -> np.ndarray:
    """How many places of its configuration's grid of N each run is from the best one, [runs]."""
    rank = runs.groupby("configuration")["size"].rank("dense").to_numpy()
    best = best_size_C[runs["configuration"].to_numpy()]
    at_best = pd.Series(np.where(runs["size"].to_numpy() == best, rank, np.nan), index=runs.index)
    rank_of_best = at_best.groupby(runs["configuration"]).transform("max").to_numpy()
    away = rank - rank_of_best
    return np.asarray(np.where(np.isnan(away), NEIGHBOURS + 1, away).astype(int))


def _rows(root: Path, run_id: str) -> list[dict[str, Any]]:
    """The rows of one history with the id of its run; none where the file is missing or unreadable."""
    try:
        rows = RunFolder(root, run_id).read_history()
        return [{"run_id": run_id, STEP: int(row[STEP]), **row} for row in rows]
    except (OSError, ValueError, KeyError, TypeError):  # no file, no JSON, or JSON of something else
        return []


def _table(rows: Sequence[dict[str, Any]], metrics: Sequence[str] | None) -> pd.DataFrame:
    names = list(metrics) if metrics is not None else list(dict.fromkeys(key for row in rows for key in row))
    names = [name for name in names if name not in ("run_id", STEP)]
    columns: dict[str, Any] = {
        "run_id": [row["run_id"] for row in rows],
        STEP: np.array([row[STEP] for row in rows], dtype=int),
    }
    for name in names:
        columns[name] = pd.to_numeric(pd.Series([row.get(name) for row in rows]), errors="coerce").astype(
            float
        )
    return pd.DataFrame(columns)


def _evenly(items: Sequence[Any], at_most: int) -> list[Any]:
    """At most so many of the items, in their order, spread evenly from the first to the last."""
    if len(items) <= at_most:
        return list(items)
    places = np.unique(np.linspace(0, len(items) - 1, at_most).round().astype(int))
    return [items[place] for place in places]
