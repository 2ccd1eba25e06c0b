"""The tables of a report: by column, as the page's own script draws, sorts and filters them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.matching import row_keys
from memcap.compare.report.drawing import Drawing
from memcap.compare.report.embedding import numbers

# What a run's row shows beside the keys that vary, where it was measured.
SHOWN = (
    "memory/bits", "memory/memorized_samples", "memory/accuracy", "train/loss_nats", "train/loss_mse",
    "eval/null/bits", "sharpness/top_eigenvalue", "sharpness/preconditioned", "gradients/coherence",
    "gradients/cancellation", "num_parameters", "steps", "stop_reason", "study", "provenance.engine",
)  # fmt: skip
FEW_ROWS = 10  # at once, where a table stands below others
Table = dict[str, Any]


def runs_table(drawing: Drawing) -> Table:
    """A row per run, in the frame's order: id, status, the keys that vary, and its main numbers."""
    frame, axes = drawing.frame, drawing.axes
    metric = drawing.comparison.quantity.metric
    names = ["run_id", "status", *axes.shown, SIZE, *axes.nuisance, REPLICATE, metric, *SHOWN]
    columns = [_column(name, frame[name]) for name in dict.fromkeys(names) if name in frame]
    columns = [column for column in columns if any(value is not None for value in column["values"])]
    return {"columns": columns, "points": list(range(len(frame)))}


def configurations_table(drawing: Drawing) -> Table:
    """A row per configuration: what ``capacity`` says of it, and its jump of sharpness."""
    table, axes = drawing.table, drawing.axes
    unit = drawing.comparison.quantity.unit
    value = f"capacity_{unit}"
    shown = pd.DataFrame({key: table[key] for key in axes.shown}, index=table.index)
    shown["parameters P"] = table.get("num_parameters")
    shown["best N"] = table["best_num_samples"]
    for key in axes.nuisance:
        shown[f"best {key}"] = table[f"best.{key}"]
    shown[f"capacity, {unit}"] = table[value]
    shown["CI low"], shown["CI high"] = table["ci_low"], table["ci_high"]
    if "num_parameters" in table:
        shown[f"{unit} / P"] = table[value] / table["num_parameters"]
    shown["seeds"] = table["num_seeds"]
    shown["in sample"] = table[f"capacity_in_sample_{unit}"]
    shown["seedwise"] = table[f"capacity_seedwise_{unit}"]
    shown["diverged share"] = table["diverged_share"]
    for name in ("jump_num_samples", "jump_factor", "exact_num_samples"):
        shown[name] = _jamming(drawing, name)
    shown["flags"] = table["flags"]
    found = [drawing.point_of_runs(row, size) for row, size in enumerate(table["best_num_samples"].tolist())]
    return _table(shown, found)


def fits_table(drawing: Drawing) -> Table | None:
    """All laws through all counts of parameters, the chosen ones first; None where nothing was fitted."""
    fits, lines = drawing.comparison.fits, drawing.axes.lines
    if fits.empty:
        return None
    fits = fits.sort_values("chosen", ascending=False, kind="stable")
    shown = fits[list(lines)].copy()
    shown["parameters"] = [str(count).removeprefix("num_parameters").strip("_").replace("_", " ") or "all"
                           for count in fits["parameter_count"]]  # fmt: skip
    shown["law"] = fits["law"].str.replace("_", " ")
    shown["chosen"] = np.where(fits["chosen"], "chosen", "")
    for name in ("slope", "intercept", "prefactor", "exponent"):
        if name in fits:
            ends = zip(fits[name], fits[f"{name}_low"], fits[f"{name}_high"], strict=True)
            shown[name] = [_interval(*row) for row in ends]
    for name in ("aic_above_best", "misfit", "num_points", "note"):
        shown[name] = fits[name]
    return {**_table(shown, None), "rows": FEW_ROWS}


def jamming_table(drawing: Drawing) -> Table | None:
    """Jumps of sharpness; None where there were too few N to look for one."""
    table = drawing.comparison.jamming
    if table.empty or table["jump"].isna().all():
        return None
    names = [
        "jump",
        "jump_num_samples",
        "jump_low",
        "jump_high",
        "jump_factor",
        "p_value",
        "best_num_samples",
    ]
    shown = table[[*drawing.axes.shown, *names, "exact_num_samples"]]
    return _table(shown, None)


def ledger_table(drawing: Drawing) -> Table | None:
    """Bits under each convention; None where no bits were recorded."""
    table = drawing.comparison.ledger
    if table.empty:
        return None
    per = [name for name in table if str(name).startswith("bits_per_")]
    shown = table[[*drawing.axes.shown, "convention", "bits", "ci_low", "ci_high", "num_seeds", *per]]
    return {**_table(shown, None), "rows": FEW_ROWS}


def _jamming(drawing: Drawing, name: str) -> list[Any]:
    table, compared = drawing.comparison.jamming, drawing.axes.compared
    if table.empty:
        return [None] * len(drawing.table)
    value = dict(zip(row_keys(table, compared), table[name].tolist(), strict=True))
    return [value.get(key) for key in row_keys(drawing.table, compared)]


def _table(shown: pd.DataFrame, found: Sequence[int] | None) -> Table:
    columns = [_column(str(name), shown[name]) for name in shown]
    columns = [c for c in columns if any(value not in (None, "") for value in c["values"])]
    return {"columns": columns, "points": None if found is None else list(found)}


def _column(name: str, values: Iterable[Any]) -> dict[str, Any]:
    """A column; numbers to six digits, all else as text, an absent value null."""
    given = [None if _absent(value) else value for value in values]
    numeric = all(value is None or _is_number(value) for value in given)
    cells = numbers(given) if numeric else [None if value is None else _text(value) for value in given]
    return {"name": name, "numeric": numeric, "values": cells}


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _is_number(value: Any) -> bool:
    return (
        not isinstance(value, bool | str) and hasattr(value, "__float__") and type(value).__name__ != "bool"
    )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or type(value).__name__ == "bool" else str(value)


def _interval(value: float, low: float, high: float) -> str | None:
    if value != value:
        return None
    return f"{value:.4g}" if low != low else f"{value:.4g} [{low:.4g}, {high:.4g}]"
