"""A metric of the runs' ends against N: geometric means over seeds, with bands, and how lines of them are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.curves import bootstrap_bands
from memcap.compare.matching import configuration_at_best_nuisance
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import CROWDED, by_configuration, draw_diamonds


def over_samples(comparison: Comparison, metric: str) -> pd.DataFrame:
    """A row for each configuration and N: ``configuration`` (row of ``capacity``), ``num_samples``, ``center``,
    ``low``, ``high``, ``num_runs``.

    exp(mean over seeds of log metric), with the 95 % bootstrap interval of that mean as ``memcap.curves`` makes it (NaN
    for one seed). Runs at their configuration's best nuisance values that did not diverge; values ≤ 0 are left out.
    """
    frame = comparison.frame
    value = frame[metric].to_numpy(dtype=float, na_value=np.nan)
    configuration = configuration_at_best_nuisance(comparison)
    usable = np.isfinite(value) & (value > 0) & (configuration >= 0)
    usable &= (frame["status"] != "diverged").to_numpy()
    configuration, size = configuration[usable], frame[SIZE].to_numpy(dtype=float, na_value=np.nan)[usable]
    order = np.lexsort((size, configuration))
    configuration, size, log = configuration[order], size[order], np.log(value[usable])[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(configuration) != 0) | (np.diff(size) != 0)][: len(order)])
    logs = np.split(log, starts[1:]) if len(starts) else []
    low, high = bootstrap_bands(logs)
    return pd.DataFrame({
        "configuration": configuration[starts], "num_samples": size[starts],
        "center": np.exp([group.mean() for group in logs]), "low": np.exp(low), "high": np.exp(high),
        "num_runs": [len(group) for group in logs],
    })  # fmt: skip


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
