"""What all figures of a report share: whose a point is, its name, its colour, and how its runs are trained again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.alarms import configuration_name
from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_at_best_nuisance, configuration_of, row_keys
from memcap.compare.report.commands import Commands
from memcap.compare.report.embedding import chart_text

MOST_IN_A_PANEL = 8
MOST_PANELS = 12
MOST_POINTS = 2000  # of single runs in a panel; a chart of more is slow and shows a cloud
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star-triangle-down", "hexagon", "x")
# Told apart by colour-blind readers, on white and on black (after Okabe and Ito 2008).
PALETTE = ("#3b87c8", "#d9622b", "#1b9e77", "#b56bb0", "#c9951a", "#59b3d9", "#c44e52", "#8a8a8a")
RAMP = ("#6a57c2", "#3f7fc9", "#239fa8", "#4cae6a", "#b0a52c", "#e08a2c", "#d9552b")
# One plot of a report: ``title`` as plain text; ``data`` and ``layout`` as plotly takes them.
Figure = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Panel:
    """Configurations (rows of the capacity table) that share one plot; names tell them apart within it."""

    title: str
    legend: str
    configurations: tuple[int, ...]
    names: dict[int, str]
    colors: dict[int, str]


class Drawing:
    """A comparison with what its figures need.

    configuration_R: the row of the capacity table of each run, −1 for none. at_best_R: the run has the nuisance values
    that are best for its configuration. groups: several runs behind one point, with their command.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.frame, self.axes, self.table = comparison.frame, comparison.axes, comparison.capacity
        self.commands = Commands(self.frame, self.axes.nuisance)
        self.configuration_R = configuration_of(self.frame, comparison)
        self.at_best_R = configuration_at_best_nuisance(comparison) >= 0
        self.names = [configuration_name(row, self.axes.shown) for _, row in self.table.iterrows()]
        self.groups: list[dict[str, Any]] = []
        self._group_of: dict[tuple[int, ...], int] = {}
        sizes = self.frame[SIZE].to_numpy(dtype=float, na_value=np.nan)
        places = pd.Series(np.arange(len(self.frame)))
        self._rows_at: dict[Any, Any] = places.groupby([self.configuration_R, sizes]).indices
        self.all_panels = self._panels()

    @property
    def panels(self) -> list[Panel]:
        """The panels that are drawn; the tables have all configurations."""
        return self.all_panels[:MOST_PANELS]

    def configuration_of(self, table: pd.DataFrame) -> np.ndarray:
        """The row of the capacity table for each row of another one; −1 where there is none."""
        return configuration_of(table, self.comparison)

    def point_of_runs(self, configuration: int, num_samples: float) -> int:
        """The number of the point that stands for all runs of a configuration at one N: −1 − its group's number."""
        rows = tuple(self._rows_at.get((configuration, float(num_samples)), ()))
        if rows not in self._group_of:
            self._group_of[rows] = len(self.groups)
            best = [row for row in rows if self.at_best_R[row]]
            command = self.commands.of_runs(rows, best) if rows else ""
            name = f"{self.names[configuration]} {SIZE}={num_samples:g}"
            runs = [int(row) for row in rows]
            self.groups.append({"name": name, "runs": runs, "command": command})
        return -1 - self._group_of[rows]

    def best_runs(self, configuration: int, column: str) -> pd.DataFrame:
        """``row``, ``num_samples`` and ``value`` of the runs of a configuration at its best nuisance values."""
        rows = np.flatnonzero((self.configuration_R == configuration) & self.at_best_R)
        runs = self.frame.iloc[rows]
        size, value = (runs[name].to_numpy(dtype=float, na_value=np.nan) for name in (SIZE, column))
        table = pd.DataFrame({"row": rows, "num_samples": size, "value": value})
        table = table[(runs["status"] != "diverged").to_numpy()]
        return table.replace([np.inf, -np.inf], np.nan).dropna().sort_values("num_samples", kind="stable")

    def _panels(self) -> list[Panel]:
        shown, table = self.axes.shown, self.table
        if len(table) <= MOST_IN_A_PANEL or len(shown) < 2:
            one = shown[0] if len(shown) == 1 else None
            return [self._panel("", range(len(table)), (one,) if one else shown)]
        apart = row_keys(table, shown[1:])
        members: dict[tuple[Any, ...], list[int]] = {}
        for number, key in enumerate(apart):
            members.setdefault(key, []).append(number)
        return [
            self._panel(configuration_name(table.iloc[rows[0]], shown[1:]), rows, shown[:1])
            for rows in members.values()
        ]

    def _panel(self, title: str, rows: Iterable[int], named_by: Sequence[str]) -> Panel:
        rows = tuple(rows)
        legend = named_by[0] if len(named_by) == 1 else ""
        names = {row: configuration_name(self.table.iloc[row], named_by) for row in rows}
        if legend:
            names = {row: name.partition("=")[2] or name for row, name in names.items()}
        colors = self._colors(rows, legend)
        return Panel(title, legend, rows, {row: chart_text(name) for row, name in names.items()}, colors)

    def _colors(self, rows: Sequence[int], legend: str) -> dict[int, str]:
        """A ramp along a number, the same in every panel; else distinct colours."""
        if legend and pd.api.types.is_numeric_dtype(self.table[legend]):
            values = np.sort(self.table[legend].unique())
            place = {float(value): n / max(len(values) - 1, 1) for n, value in enumerate(values)}
            return {row: ramp(place.get(float(self.table[legend].iloc[row]), 0.0)) for row in rows}
        if len(rows) <= len(PALETTE):
            return dict(zip(rows, PALETTE, strict=False))
        return {row: ramp(number / (len(rows) - 1)) for number, row in enumerate(rows)}


def ramp(place: float) -> str:
    """A colour between the ramp's ends, place in 0 to 1."""
    points = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in RAMP])
    at = np.linspace(0, 1, len(RAMP))
    rgb = [round(float(np.interp(place, at, points[:, channel]))) for channel in range(3)]
    return "#" + "".join(f"{value:02x}" for value in rgb)


def faint(color: str, opacity: float) -> str:
    """The colour, transparent."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
