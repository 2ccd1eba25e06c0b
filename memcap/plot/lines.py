"""Lines of configurations as arrays, and their marks, drawn in few artists: a thousand of them take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

CROWDED = 10  # lines; of more, bands and markers would hide each other


def by_configuration(table: pd.DataFrame, configuration_R: np.ndarray) -> dict[int, dict[str, np.ndarray]]:
    """The numbers of a table's columns, [rows of one configuration] each, by configuration; those below 0 left out."""
    order = np.argsort(configuration_R, kind="stable")
    order = order[configuration_R[order] >= 0]
    cuts = np.flatnonzero(np.diff(configuration_R[order])) + 1
    columns = {str(name): table[name].to_numpy()[order] for name in table}
    split = {name: np.split(values, cuts) for name, values in columns.items()}
    firsts = configuration_R[order[np.r_[0, cuts]]].tolist() if len(order) else []
    return {number: {name: split[name][i] for name in split} for i, number in enumerate(firsts)}


def draw_diamonds(
    ax: Axes, x: Sequence[float], y: Sequence[float], colors: Sequence[Any], *, crowded: bool
) -> None:
    """The mark of each configuration's capacity, or of its N."""
    ax.scatter(
        x, y, s=16 if crowded else 36, marker="D", facecolors=list(colors), edgecolors="black", linewidths=0.8,
        zorder=4,
    )  # fmt: skip


def mark(label: str, **look: Any) -> Artist:
    """An entry of a legend; without another look, that of a diamond."""
    look = look or {"color": "0.6", "marker": "D", "linestyle": "", "markeredgecolor": "black"}
    return Line2D([], [], label=label, **look)
