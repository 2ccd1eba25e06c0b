"""The table at the end of a sweep."""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 40
NO_TERMINAL_WIDTH = 400  # in a file nothing is folded; the table is only as wide as its content


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One run of the table: its own overrides, its status, its summary (flat metric names)."""

    overrides: tuple[str, ...]
    run_id: str
    status: str
    num_samples: int | None
    num_parameters: int
    summary: dict[str, Any]


# Title, and the metric with its format; the first metric that a run has is shown.
METRICS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("loss", ("train/loss_nats", "train/loss_mse"), "{:.4g}"),
    ("bits", ("memory/bits",), "{:.1f}"),
    ("bits/param", ("memory/bits_per_parameter",), "{:.3f}"),
    ("memorized", ("memory/memorized_samples",), "{:.0f}"),
    ("sharpness", ("sharpness/top_eigenvalue",), "{:.3g}"),
)
STYLES = {"failed": "red", "diverged": "yellow", "interrupted": "yellow", "skipped": "dim"}


def print_table(rows: Sequence[TableRow]) -> None:
    """Prints the runs on stdout; of more than forty the first ones, with the number of those left out."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("cell", overflow="fold")
    metrics = [m for m in METRICS if any(_value(row, m[1]) is not None for row in rows)]
    for title in ("N", "parameters", *(title for title, _, _ in metrics)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in rows[:MOST_ROWS]:
        cells = [_show(row, names, form) for _, names, form in metrics]
        samples = "∞" if row.num_samples is None else str(row.num_samples)
        name = " ".join(row.overrides) or row.run_id
        table.add_row(
            name, samples, f"{row.num_parameters:,}", *cells, row.status, style=STYLES.get(row.status)
        )
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else NO_TERMINAL_WIDTH)
    console.print(table)
    if len(rows) > MOST_ROWS:
        console.print(f"... and {len(rows) - MOST_ROWS:,} more runs")


def print_means(rows: Sequence[TableRow]) -> None:
    """Prints the mean bits over seeds of each configuration with a 95 % confidence interval (Student's t).

    A diverged run counts as 0 bits and its share is shown. Nothing where no configuration has two seeds.
    """
    from rich.console import Console
    from rich.table import Table

    groups: dict[str, list[TableRow]] = {}
    for row in rows:
        if "memory/bits" in row.summary:
            name = " ".join(text for text in row.overrides if not text.startswith("seed="))
            groups.setdefault(name, []).append(row)
    if not any(len(group) > 1 for group in groups.values()):
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("mean over seeds", overflow="fold")
    for title in ("runs", "bits", "95 % CI", "bits/param", "diverged"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, group in list(groups.items())[:MOST_ROWS]:
        bits = [_value(row, ("memory/bits",)) for row in group]
        mean, half_width = mean_and_half_width([value or 0.0 for value in bits])
        diverged = bits.count(None) / len(group)
        interval = "-" if half_width is None else f"± {half_width:.1f}"
        per_parameter = f"{mean / group[0].num_parameters:.3f}"
        table.add_row(name, str(len(group)), f"{mean:.1f}", interval, per_parameter, f"{diverged:.0%}")
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else NO_TERMINAL_WIDTH)
    console.print()
    console.print(table)
    if len(groups) > MOST_ROWS:
        console.print(f"... and {len(groups) - MOST_ROWS:,} more configurations")


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and half the width of its 95 % confidence interval; None of one value, which has no spread."""
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return mean, quantile * statistics.stdev(values) / len(values) ** 0.5


def _value(row: TableRow, names: tuple[str, ...]) -> Any:
    """The first of these metrics that is a finite number, or None."""
    values = (row.summary.get(name) for name in names)
    return next((value for value in values if value is not None and math.isfinite(value)), None)


def _show(row: TableRow, names: tuple[str, ...], form: str) -> str:
    value = _value(row, names)
    return "-" if value is None else form.format(value)
