"""A metric of the runs' ends against N: geometric means over seeds, with bands, and how lines of them are drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.curves import bootstrap_bands
from memcap.compare.matching import configuration_at_best_nuisance
from memcap.plot.hues import Hues, configurations_to_draw

CROWDED = 10


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
    runs = pd.DataFrame({
        "configuration": configuration[usable],
        "num_samples": frame[SIZE].to_numpy(dtype=float, na_value=np.nan)[usable],
        "log": np.log(value[usable]),
    })  # fmt: skip
    groups = list(runs.groupby(["configuration", "num_samples"])["log"])
    logs = [group.to_numpy() for _, group in groups]
    low, high = bootstrap_bands(logs)
    return pd.DataFrame({
        "configuration": [int(key[0]) for key, _ in groups],
        "num_samples": [float(key[1]) for key, _ in groups],
        "center": np.exp([log.mean() for log in logs]),
        "low": np.exp(low), "high": np.exp(high), "num_runs": [len(log) for log in logs],
    })  # fmt: skip


def draw_over_samples(ax: Axes, comparison: Comparison, table: pd.DataFrame, hues: Hues) -> str:
    """The lines and bands of such a table, a diamond at the N of each capacity; the note of what was left out."""
    chosen, note = configurations_to_draw(comparison, hues)
    lines = dict(iter(table.groupby("configuration")))
    crowded = len(chosen) > CROWDED
    for number, key in chosen:
        if number not in lines:
            continue
        line, color = lines[number], hues.color(key)
        x, center = line["num_samples"].to_numpy(), line["center"].to_numpy()
        marker = "" if crowded else hues.marker(key)
        ax.plot(x, center, color=color, marker=marker, markersize=3.5, linewidth=1.2, zorder=2)
        if not crowded:
            ax.fill_between(x, line["low"], line["high"], color=color, alpha=0.18, linewidth=0, zorder=1)
        best = x == comparison.capacity["best_num_samples"].iloc[number]
        ax.plot(
            x[best], center[best], "D", color=color, markersize=4 if crowded else 6, markeredgecolor="black",
            markeredgewidth=0.8, zorder=4,
        )  # fmt: skip
    return note
