"""Published numbers on the axes of a figure: hollow marks in the colour of their configuration."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.compare.matching import row_keys
from memcap.compare.published import published_of
from memcap.plot.hues import Hues
from memcap.plot.lines import mark

HOLLOW: dict[str, Any] = {"marker": "*", "markersize": 11, "markerfacecolor": "white", "linestyle": ""}
DASHES: dict[str, Any] = {"linestyle": (0, (2.5, 1)), "linewidth": 2.2}
AT_THE_RIGHT = (0.9, 1.0)  # shares of the axes' width


def draw_over_n(
    ax: Axes, comparison: Comparison, given: str | pd.DataFrame | None, metric: str, hues: Hues
) -> list[Artist]:
    """Stars at published N; where a number has no N (a peak), dashes at the right edge. Entries of a legend."""
    rows = _rows(comparison, given, metric)
    at_n, peaks = rows[rows["num_samples"].notna()], rows[rows["num_samples"].isna()]
    for color, row in zip(_colors(at_n, comparison, hues), at_n.to_dict("records"), strict=True):
        ax.plot(row["num_samples"], row["published"], **HOLLOW, markeredgecolor=color, zorder=5)
    across = ax.get_yaxis_transform()
    for color, row in zip(_colors(peaks, comparison, hues), peaks.to_dict("records"), strict=True):
        ax.plot(AT_THE_RIGHT, [row["published"]] * 2, **DASHES, color=color, transform=across, zorder=5)
    handles = [mark("published", **{**HOLLOW, "markeredgecolor": "0.3"})] if len(at_n) else []
    if len(peaks):
        label = " and ".join(dict.fromkeys(peaks["what"]))
        handles.append(mark(f"published: {label}", **DASHES, color="0.3"))
    return handles


def draw_at(
    ax: Axes, comparison: Comparison, given: str | pd.DataFrame | None, places_C: list[Any], hues: Hues
) -> list[Artist]:
    """Stars at a place of their configuration, [configurations], of numbers without N. Entries of a legend."""
    rows = _rows(comparison, given, comparison.quantity.metric)
    rows = rows[rows["num_samples"].isna()]
    for color, row in zip(_colors(rows, comparison, hues), rows.to_dict("records"), strict=True):
        ax.plot(places_C[row["configuration"]], row["published"], **HOLLOW, markeredgecolor=color, zorder=5)
    label = " and ".join(dict.fromkeys(rows["what"]))
    return [mark(f"published: {label}", **{**HOLLOW, "markeredgecolor": "0.3"})] if len(rows) else []


def _rows(comparison: Comparison, given: str | pd.DataFrame | None, metric: str) -> pd.DataFrame:
    if given is None:
        return pd.DataFrame(columns=["configuration", "what", "num_samples", "published"])
    return published_of(comparison, given, metric)


def _colors(rows: pd.DataFrame, comparison: Comparison, hues: Hues) -> list[Any]:
    keys = row_keys(comparison.capacity, hues.keys)
    return [hues.color(keys[number]) for number in rows["configuration"]]
