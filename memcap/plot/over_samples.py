"""How the lines, bands and marks of ``memcap.compare.over_samples`` are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.compare.over_samples import over_samples
from memcap.errors import BadInput
from memcap.plot.given import require
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import CROWDED, by_configuration, draw_diamonds, mark
from memcap.plot.panel import Entries, axes_or_new, finish, place_legend, scale


class LinesOverSamples:
    """A metric at the end of training against N, a line for each configuration.

    geometric: means, and only values above 0; otherwise arithmetic means of all. figure: what the message calls it.
    Raises BadInput where the metric was not measured, or at one N only.
    """

    def __init__(
        self,
        comparison: Comparison,
        ax: Axes | None,
        metric: str,
        hue: str | Iterable[str] | Hues | None,
        figure: str,
        *,
        geometric: bool = True,
    ) -> None:
        require(comparison.frame, metric)
        self.table = over_samples(comparison, metric, geometric=geometric)
        if self.table["num_samples"].nunique() < 2:
            kind = "a positive " if geometric else ""
            raise BadInput(f"{figure} needs {kind}{metric} at two or more data.num_samples")
        self.ax = axes_or_new(ax)
        self.hues = Hues.of(comparison, hue, comparison.axes.shown)
        self.note = draw_over_samples(self.ax, comparison, self.table, self.hues)
        sizes = self.table["num_samples"].to_numpy()
        scale(self.ax.xaxis, sizes, logarithmic=bool(sizes.max() >= 100 * sizes.min()))

    def scale_y(self, more: Sequence[float] = ()) -> None:
        """Logarithmic where the lines, their bands and what else is drawn span a lot."""
        scale(self.ax.yaxis, np.append(self.table[["low", "center", "high"]].to_numpy(), more))

    def finish(self, label: str, legend: str | Entries | None, marks: Iterable[Artist] = ()) -> Axes:
        """Labels and legend, which names the diamonds before other marks."""
        finish(self.ax, "N (samples)", label)
        if isinstance(legend, str):
            self.hues.color_bar(self.ax)
        entries = [*self.hues.handles(), mark("N of capacity"), *marks]
        place_legend(self.ax, entries, self.hues.legend_title(self.note), legend)
        return self.ax


def draw_over_samples(ax: Axes, comparison: Comparison, table: pd.DataFrame, hues: Hues) -> str:
    """The lines and bands of such a table, a diamond at the N of each capacity; the note of what was left out."""
    chosen, note = configurations_to_draw(comparison, hues)
    lines = by_configuration(table, table["configuration"].to_numpy())
    best_C = comparison.capacity["best_num_samples"].to_numpy()
    crowded = len(chosen) > CROWDED
    marks: list[tuple[float, float, Any]] = []
    for number, key in chosen:
        if number not in lines:
            continue
        line, color = lines[number], hues.color(key)
        x, center = line["num_samples"], line["center"]
        marker = "" if crowded else hues.marker(key)
        ax.plot(x, center, color=color, marker=marker, markersize=3.5, linewidth=1.2, zorder=2)
        if not crowded:
            ax.fill_between(x, line["low"], line["high"], color=color, alpha=0.18, linewidth=0, zorder=1)
        marks += [(x[place], center[place], color) for place in np.flatnonzero(x == best_C[number])]
    if marks:
        x_marks, y_marks, colors = zip(*marks, strict=True)
        draw_diamonds(ax, x_marks, y_marks, colors, crowded=crowded)
    return note
