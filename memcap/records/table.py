"""The table at the end of a sweep."""

from __future__ import annotations

import dataclasses
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


def _value(row: TableRow, names: tuple[str, ...]) -> Any:
    return next((row.summary[name] for name in names if row.summary.get(name) is not None), None)


def _show(row: TableRow, names: tuple[str, ...], form: str) -> str:
    value = _value(row, names)
    return "-" if value is None else form.format(value)
