"""How the lines, bands and marks of ``memcap.compare.over_samples`` are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import CROWDED, by_configuration, draw_diamonds


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
