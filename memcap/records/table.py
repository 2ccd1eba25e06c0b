"""The table at the end of a sweep."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 40
NO_TERMINAL_WIDTH = 400  # in a file nothing is folded; the table is only as wide as its content
GAP = 2


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One run of the table: its own overrides, its status, its summary (flat metric names), whether it diverged."""

    overrides: tuple[str, ...]
    run_id: str
    status: str
    num_samples: int | None
    num_parameters: int
    summary: dict[str, Any]
    diverged: bool = False

    @property
    def name(self) -> str:
        return " ".join(self.overrides) or self.run_id

    def value(self, names: Sequence[str]) -> Any:
        """The first of these metrics that is a finite number, or None."""
        values = (self.summary.get(name) for name in names)
        return next((value for value in values if value is not None and math.isfinite(value)), None)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers; ``drop`` says when a narrow terminal loses it (1 first), None never."""

    title: str
    values: list[str]
    drop: int | None = None

    @property
    def width(self) -> int:
        return max(map(len, (self.title, *self.values))) + GAP


# Title, the metrics of which the first that a run has is shown, format, and what a narrow terminal loses first.
Metric = tuple[str, tuple[str, ...], str, "int | None"]
METRICS: tuple[Metric, ...] = (
    ("loss", ("train/loss_nats", "train/loss_mse"), "{:.4g}", 4),
    ("bits", ("memory/bits",), "{:.1f}", None),
    ("bits/param", ("memory/bits_per_parameter",), "{:.3f}", 2),
    ("memorized", ("memory/memorized_samples",), "{:.0f}", 5),
    ("sharpness", ("sharpness/top_eigenvalue",), "{:.3g}", 3),
)
STYLES = {"failed": "red", "diverged": "yellow", "interrupted": "yellow", "skipped": "dim"}
# Where not all rows are shown, what one wants to see comes first.
URGENCY = ("failed", "diverged", "interrupted", "running", "finished", "queued", "measured", "skipped", "")


def print_table(rows: Sequence[TableRow]) -> None:
    """Prints the runs on stdout; of more than forty those that failed or diverged and the new ones first."""
    print_metrics(rows, METRICS)


def print_metrics(rows: Sequence[TableRow], metrics: Sequence[Metric]) -> None:
    """The same with other metrics; a metric that no run has is no column."""
    shown = list(rows)
    if len(rows) > MOST_ROWS:
        shown = sorted(rows, key=lambda row: URGENCY.index(row.status))[:MOST_ROWS]
    columns = [
        Column("N", ["∞" if row.num_samples is None else str(row.num_samples) for row in shown], 6),
        Column("parameters", [f"{row.num_parameters:,}" for row in shown], 1),
    ]
    for title, names, form, drop in metrics:
        values = [row.value(names) for row in shown]
        if any(value is not None for value in values):
            columns.append(Column(title, [number(value, form) for value in values], drop))
    columns.append(Column("status", [row.status for row in shown]))
    print_columns("cell", [row.name for row in shown], columns, [STYLES.get(row.status) for row in shown])
    if len(rows) > MOST_ROWS:
        print(f"... and {len(rows) - MOST_ROWS:,} more runs (index.jsonl has them all)")


def print_columns(
    title: str, names: Sequence[str], columns: Sequence[Column], styles: Sequence[str | None] | None = None
) -> None:
    """Prints a column of names and columns of numbers, so that they fit the terminal.

    Where it is narrow, keys lose their groups (width=8 for model.width=8), then columns go in their order;
    names fold at spaces, and no number is cut.
    """
    from rich.console import Console
    from rich.table import Table

    width = None if sys.stdout.isatty() else NO_TERMINAL_WIDTH
    # In a notebook rich would make outputs of their own of the tables, apart from the lines around them.
    console = Console(file=sys.stdout, width=width, force_jupyter=False)
    names, columns = fit(title, list(names), list(columns), console.width)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column(title, overflow="fold", min_width=_word_width(title, names))
    for column in columns:
        table.add_column(column.title, justify="left" if column.title == "status" else "right", no_wrap=True)
    for i, name in enumerate(names):
        style = styles[i] if styles else None
        table.add_row(name, *(column.values[i] for column in columns), style=style)
    console.print(table)


def fit(title: str, names: list[str], columns: list[Column], width: int) -> tuple[list[str], list[Column]]:
    """Names and columns that fit a terminal of this width, as far as dropping and shortening can do it."""
    widest = max(map(len, (title, *names)))
    if widest + GAP + sum(column.width for column in columns) <= width:
        return names, columns
    names = [" ".join(_short(word) for word in name.split(" ")) for name in names]
    while _word_width(title, names) + GAP + sum(column.width for column in columns) > width:
        droppable = [column for column in columns if column.drop is not None]
        if not droppable:
            break
        columns = [column for column in columns if column is not min(droppable, key=lambda c: c.drop or 0)]
    return names, columns


def number(value: float | None, form: str) -> str:
    """A formatted number; '-' where there is none, and no minus before a zero."""
    if value is None:
        return "-"
    text = form.format(value)
    return text.lstrip("-") if not text.strip("-0.") else text


def _short(override: str) -> str:
    key, equals, value = override.partition("=")
    return key.rsplit(".", 1)[-1] + equals + value


def _word_width(title: str, names: Sequence[str]) -> int:
    return max(len(word) for text in (title, *names) for word in text.split(" "))
