"""The ranking of activations: a dot for each with its interval, and who is not told apart from the leader."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memcap.errors import BadInput
from memcap.plot.hues import DISTINCT
from memcap.plot.lines import mark
from memcap.plot.panel import axes_or_new, finish, from_zero, new_figure

NEW, OWN = DISTINCT[1], DISTINCT[0]
ROW_INCHES, WIDTH_INCHES = 0.19, 6.4


def leaderboard(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Mean bits on fresh seeds with their 95 % intervals, [rows] of ``memcap.rank_activations``, most bits on top.

    Full dots: the leader and those that it is not told apart from. Another colour: what this call has added.
    """
    if not isinstance(table, pd.DataFrame) or "told_apart" not in table or table.empty:
        raise BadInput(
            "a leaderboard is drawn of the table of memcap.rank_activations, with one row at least"
        )
    ax = axes_or_new(ax)
    places = list(range(len(table)))
    rows: list[Any] = table.to_dict("records")
    for place, row in zip(places, rows, strict=True):
        color = NEW if row["added"] else OWN
        fill = "white" if row["told_apart"] else color
        if row["ci_low"] == row["ci_low"]:
            ax.plot([row["ci_low"], row["ci_high"]], [place, place], color=color, linewidth=1.2, zorder=2)
        ax.plot([row["bits"]], [place], "o", color=color, markerfacecolor=fill, markersize=4.5, zorder=3)
    ax.set_yticks(places, labels=[_label(row) for row in rows], parse_math=False)
    ax.tick_params(axis="y", length=0, labelsize="x-small")
    ax.set_ylim(len(table) - 0.4, -0.6)
    finish(ax, "memorized bits on fresh seeds, mean and 95 % interval", "")
    from_zero(ax, x=True)
    handles = [
        mark("the leader, or not told apart from it", color=OWN, marker="o", linestyle=""),
        mark("behind", color=OWN, marker="o", linestyle="", markerfacecolor="white"),
    ]
    if table["added"].any():
        handles.append(mark("added now", color=NEW, marker="o", linestyle=""))
    ax.legend(handles=handles, loc="upper left", fontsize="x-small")  # no dots there: most bits are on top
    return ax


def leaderboard_figure(table: pd.DataFrame) -> Figure:
    """The same on a figure of its own, as high as it has rows."""
    figure = new_figure((WIDTH_INCHES, 1.2 + ROW_INCHES * len(table)))
    leaderboard(table, figure.add_subplot())
    return figure


def _label(row: dict[str, Any]) -> str:
    name, formula = row["name"], row["formula"]
    return name if name == formula else f"{name}   {formula}"
