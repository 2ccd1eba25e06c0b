"""What a comparison prints: the table of capacities, fits, alarms, where the files are, what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

import numpy as np
import pandas as pd

from memcap.compare.alarms import configuration_name
from memcap.compare.axes import grouping
from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_of, restarts_at_capacity
from memcap.compare.optimum_columns import BITS as OPTIMUM_BITS
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import NUM_RESTARTS
from memcap.records.table import MOST_ROWS, Column, number, print_columns

SPLITS = {
    "cross_fitted": "two halves of the seeds, each measured at the N that the other half chooses",
    "given": "chosen on selection_seeds, measured on the others",
    "confirmed": "measured on seeds that were run at the chosen N only",
    "no_choice": "one N, nothing was chosen",
    "one_seed": "one seed chooses and measures: biased upward, no CI",
}
TABLES = (".csv", ".json", ".parquet")


def print_numbers(comparison: Comparison, verified: str | None = None) -> None:
    """Capacities, axes, fits, jumps, what was left out, alarms, on stdout."""
    _print_capacities(comparison)
    _print_axes(comparison)
    for line in [
        *restart_lines(comparison),
        *optimum_lines(comparison),
        *fit_lines(comparison),
        *jump_lines(comparison),
    ]:
        print(line)
    for problem in comparison.frame.attrs.get("unusable", []):
        print(f"left out: {problem}")
    for columns in comparison.frame.attrs.get("absent", []):
        print(f"absent:   {columns}")
    for alarm in comparison.alarms:
        print(f"alarm:    {alarm.message}")
    if verified is not None and not any(alarm.kind == "not_reproduced" for alarm in comparison.alarms):
        print(f"verified: {verified}")


def print_places(
    comparison: Comparison, folder: Path, files: Sequence[Path], figures: Sequence[str] = ()
) -> None:
    """Where the files and figures are and what to type next. files: all that were written, tables among them."""
    tables = ", ".join(path.name for path in files if path.suffix in TABLES)
    print(f"files:    {quote(str(folder))}  ({tables})")
    if figures:
        print(f"figures:  {', '.join(figures)}, as .png and .svg there")
    for line in _suggestions(comparison):
        print(f"next:     {line}")


def _print_capacities(comparison: Comparison) -> None:
    table, unit = comparison.capacity, comparison.quantity.unit
    shown = table.head(MOST_ROWS)
    value = shown[f"capacity_{unit}"]
    names = [configuration_name(row, comparison.axes.shown) for _, row in shown.iterrows()]
    half = (shown["ci_high"] - shown["ci_low"]) / 2
    columns = [
        Column("best N", [str(size) for size in shown["best_num_samples"]]),
        Column(unit, [number(v, "{:.1f}") for v in value]),
        Column("95 % CI", ["-" if h != h else f"± {h:.1f}" for h in half]),
        Column("seeds", [str(n) for n in shown["num_seeds"]], 3),
        Column("in sample", [number(v, "{:.1f}") for v in shown[f"capacity_in_sample_{unit}"]], 1),
        Column("flags", [flags or "-" for flags in shown["flags"]]),
    ]
    if "num_parameters" in shown:
        columns.insert(1, Column("parameters", [f"{int(p):,}" for p in shown["num_parameters"]], 2))
        per = [number(v / p, "{:.3f}") for v, p in zip(value, shown["num_parameters"], strict=True)]
        columns.insert(4, Column(f"{unit}/param", per, 4))
    if (shown["diverged_share"] > 0).any():
        columns.insert(-1, Column("diverged", [f"{share:.0%}" for share in shown["diverged_share"]]))
    if NUM_RESTARTS in shown:
        columns.insert(-2, Column("best of", _best_of(comparison)[: len(shown)], 3))
    for key in comparison.axes.nuisance:
        best = [f"{v:g}" if isinstance(v, float) else str(v) for v in shown[f"best.{key}"]]
        columns.insert(1, Column(key.rpartition(".")[2], best, 5))
    print_columns("configuration", names, columns)
    if len(table) > MOST_ROWS:
        print(f"... and {len(table) - MOST_ROWS:,} more configurations (capacity.csv has them all)")
    print()


def _print_axes(comparison: Comparison) -> None:
    axes, frame = comparison.axes, comparison.frame
    seeds = frame["seed"].nunique()
    print(
        f"runs:     {len(comparison.all_runs):,}, {len(comparison.capacity):,} configurations, {seeds} seeds"
    )
    compared = ", ".join(axes.shown) or "nothing (one configuration)"
    chosen = ", ".join(["data.num_samples", *axes.nuisance])
    print(f"axes:     compared {compared}; chosen {chosen}; replicate seed")
    fixed = [
        f"{key}={axes.fixed[key]}" for key in ("data.kind", "model.kind", "budget.steps") if key in axes.fixed
    ]
    print(
        f"fixed:    {' '.join(fixed)} and {len(axes.fixed) - len(fixed)} more keys (capacity is a lower bound)"
    )
    for split in comparison.capacity["split"].unique():
        print(f"seeds:    {SPLITS[split]}")


def restart_lines(comparison: Comparison) -> Iterator[str]:
    """What fewer restarts would have given, at the N and nuisance values of each capacity.

    Over all seeds, those that chose this N too, where a capacity is of fresh ones: larger by chance.
    """
    if comparison.restarts.empty:
        return
    unit, which = comparison.quantity.unit, which_restarts(comparison)
    yield f"restarts: {which}: the smallest final loss among those that did not diverge"
    for _, row in comparison.capacity.head(MOST_ROWS).iterrows():
        found = restarts_at_capacity(comparison, row)
        unequal = found["num_seeds"].nunique() > 1
        parts = [
            f"{mean:.1f}" + ("" if high != high else f" ± {high - mean:.1f}") + f" of {count}"
            + (f" ({seeds} seed{'s' if seeds > 1 else ''})" if unequal else "")
            for count, mean, high, seeds in zip(
                found["best_of"], found["mean"], found["ci_high"], found["num_seeds"], strict=True
            )
        ]  # fmt: skip
        where = configuration_name(row, comparison.axes.shown)
        biased = "" if row["split"] == "no_choice" else " (in sample: also of seeds that chose this N)"
        yield f"best of r: {where} N = {row['best_num_samples']}: {unit} {', '.join(parts)}{biased}"


def which_restarts(comparison: Comparison) -> str:
    """``of each seed the best of 4 restarts counts``, where runs were restarted."""
    restarts = comparison.frame[NUM_RESTARTS]
    return f"of each seed the best of {_range(restarts.min(), restarts.max())} restarts counts"


def _best_of(comparison: Comparison) -> list[str]:
    """Of how many restarts the best of each seed was taken, for each configuration: ``4``, or ``4 to 8``."""
    restarts = comparison.frame[NUM_RESTARTS].groupby(configuration_of(comparison.frame, comparison)).max()
    fewest = comparison.capacity[NUM_RESTARTS]
    return [_range(least, restarts[number]) for number, least in enumerate(fewest)]


def _range(least: int, most: int) -> str:
    return f"{most}" if least == most else f"{least} to {most}"


def optimum_lines(comparison: Comparison) -> Iterator[str]:
    """How much of what a linear model can store its training has stored, where the oracle was asked."""
    runs = comparison.frame
    if OPTIMUM_BITS in runs and not (known := runs[runs[OPTIMUM_BITS].notna()]).empty:
        share = Quantity.of("bits", runs).values(known) / known[OPTIMUM_BITS].to_numpy(dtype=float)
        low, middle, high = (f"{100 * value:.1f} %" for value in np.nanquantile(share, [0.0, 0.5, 1.0]))
        yield (
            f"optimum:  {len(known)} linear runs store a median of {middle} of their exact optimum ({low} to {high})"
        )


def fit_lines(comparison: Comparison) -> Iterator[str]:
    """The laws over all parameters; what is to be said of a line stands on the law that was chosen, or on the first."""
    table, unit = comparison.fits, comparison.quantity.unit
    if table.empty:
        return
    axes = comparison.axes
    table = table[table["parameter_count"] == "num_parameters"]
    line = grouping(table, axes.lines)
    undecided = ~table["chosen"].groupby(line).transform("any")
    noted = table["chosen"] | (undecided & ~line.duplicated())
    for (_, row), with_note in zip(table.iterrows(), noted, strict=True):
        where = configuration_name(row, axes.lines) + ": " if axes.lines else ""
        if row["law"] == "power_law":
            text = f"C ∝ P^{row['exponent']:.3f} {_ends(row, 'exponent')}"
        else:
            text = f"{row['slope']:.3f} {_ends(row, 'slope')} {unit} per parameter"
        if row["law"] == "linear":
            text += f", intercept {row['intercept']:.1f} {_ends(row, 'intercept')}"
        mark = "  <- chosen" if row["chosen"] else ""
        mark += f"; {row['note']}" if with_note and row["note"] else ""
        print_law = row["law"].replace("_", " ")
        yield f"fit:      {where}{print_law}: {text}{mark}"


def _ends(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "(no CI)" if low != low else f"[{low:.3f}, {high:.3f}]"


def jump_lines(comparison: Comparison) -> Iterator[str]:
    table = comparison.jamming
    if table.empty or table["jump"].isna().all():
        return
    for _, row in table.head(MOST_ROWS).iterrows():
        where = configuration_name(row, comparison.axes.shown)
        if row["jump"] is None:
            continue
        known = row["exact_num_samples"]
        exact = "" if known != known else f", half of all labels are possible up to N = {known:.0f} (exact)"
        if not row["jump"]:
            yield f"jamming:  {where}: no jump of sharpness over N"
            continue
        ends = (
            "" if row["jump_low"] != row["jump_low"] else f" [{row['jump_low']:.0f}, {row['jump_high']:.0f}]"
        )
        yield (
            f"jamming:  {where}: sharpness times {row['jump_factor']:.3g} at N = {row['jump_num_samples']:.0f}{ends},"
            f" capacity at N = {row['best_num_samples']}{exact}"
        )


def _suggestions(comparison: Comparison) -> Iterator[str]:
    flags = " ".join(comparison.capacity["flags"]).split()
    if "one_seed" in flags:
        yield "the study's command with seed=0,1,2,3   # a capacity with an error bar; finished runs are kept"
    if "grid_limited" in flags:
        yield "the study's command with more values of data.num_samples   # the best N is at an edge"
    if "nuisance_edge" in flags:
        yield f"the study's command with more values of {comparison.axes.nuisance[0]}   # the best one is at an edge"
    if "source" not in comparison.frame.attrs:
        yield f"python -m memcap.show {comparison.frame['run_id'].iloc[0]}   # all that is recorded of one run"
