"""Bits against N: a curve for each configuration, the diagonal on which all is memorized, and the capacities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_of
from memcap.compare.optimum import optimum_curves
from memcap.compare.references import exact_reference
from memcap.errors import BadInput
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import CROWDED, by_configuration, draw_diamonds, mark
from memcap.plot.panel import GREY, Entries, axes_or_new, finish, from_zero, place_legend, scale
from memcap.plot.published import draw_over_n


def capacity_curves(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    hue: str | Iterable[str] | Hues | None = None,
    published: str | pd.DataFrame | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """What is memorized against N, a line for each configuration with its 95 % bootstrap band over seeds.

    Lines and bands are those of ``memcap.curves``: at each N the nuisance values are chosen on other seeds than those
    averaged. A diamond marks each capacity at its best N with its 95 % interval (``memcap.capacity``); it may lie off
    its line, since seeds that chose N do not measure there. Dotted: N log2 V, all labels memorized. Stars: exact
    references where one is known (Cover's N = 2n of a plane). Dashed: the exact optimum of linear models on the same
    samples, where ``memcap.oracle`` was asked. Crosses: an N at which runs diverged (they count 0).

    published: of a preset (``memory2/width``) or a table with the columns of ``memcap.published``: stars, or dashes
    at the right edge where a number has no N.

    Horizontal: N in samples. Vertical: the comparison's y (bits, or samples). Both turn logarithmic where N spans two
    decades. hue: compared keys that colours tell apart. legend: ``right``, ``below`` or None. Of more than forty
    configurations an even choice is drawn. Raises BadInput where there is one N only.
    """
    comparison = as_comparison(comparison_or_frame)
    curves, unit = comparison.curves, comparison.quantity.unit
    if curves["num_samples"].nunique() < 2:
        raise BadInput("capacity_curves needs runs at two or more data.num_samples")
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, comparison.axes.shown)
    chosen, note = configurations_to_draw(comparison, hues)
    _draw_lines(ax, comparison, chosen, hues)
    sizes = curves["num_samples"].to_numpy(dtype=float)
    wide = bool(sizes.max() >= 100 * sizes.min())
    scale(ax.xaxis, sizes, logarithmic=wide)
    known = (
        curves[["num_samples", "diagonal"]].dropna().drop_duplicates("num_samples").sort_values("num_samples")
    )
    others = draw_over_n(ax, comparison, published, comparison.quantity.metric, hues)
    _scale_vertically(ax, curves, wide)
    if len(known):
        line = Line2D(
            known["num_samples"], known["diagonal"], color=GREY, linestyle=":", linewidth=1.2, zorder=1
        )
        ax.add_artist(line)  # not add_line: the diagonal may leave the picture
    what = {"samples": "memorized samples", "bits": "memorized bits"}.get(unit, comparison.quantity.metric)
    finish(ax, "N (samples)", what)
    if isinstance(legend, str):
        hues.color_bar(ax)
    place_legend(
        ax, [*hues.handles(), *_marks(comparison, bool(len(known))), *others], hues.legend_title(note), legend
    )
    return ax


def _draw_lines(
    ax: Axes, comparison: Comparison, chosen: list[tuple[int, tuple[Any, ...]]], hues: Hues
) -> None:
    """Lines, bands and marks."""
    columns = comparison.curves[["num_samples", "mean", "low", "high", "diverged_share"]]
    lines = by_configuration(columns, configuration_of(comparison.curves, comparison))
    crowded = len(chosen) > CROWDED
    for number, key in chosen:
        line, color = lines[number], hues.color(key)
        x, mean, diverged = line["num_samples"], line["mean"], line["diverged_share"] > 0
        marker = "" if crowded else hues.marker(key)
        ax.plot(x, mean, color=color, marker=marker, markersize=3.5, linewidth=1.3, zorder=2)
        if not crowded and not np.isnan(line["low"]).all():
            ax.fill_between(x, line["low"], line["high"], color=color, alpha=0.18, linewidth=0)
        if diverged.any():
            ax.plot(x[diverged], mean[diverged], "x", color=color, markersize=7, zorder=3)
    table = comparison.capacity.iloc[[number for number, _ in chosen]]
    colors: Any = [hues.color(key) for _, key in chosen]
    x, y = table["best_num_samples"].to_numpy(), table[f"capacity_{comparison.quantity.unit}"].to_numpy()
    half = (table["ci_high"] - table["ci_low"]).to_numpy() / 2
    ax.errorbar(x, y, half, fmt="none", ecolor=colors, elinewidth=1.6, zorder=3)
    draw_diamonds(ax, x, y, colors, crowded=crowded)
    exact = optimum_curves(comparison)
    for number, key in chosen:
        at = exact[exact["configuration"] == number]
        ax.plot(
            at["num_samples"], at["mean"], color=hues.color(key), linestyle="--", linewidth=1.1, zorder=1.5
        )
    known = [(*at, color) for at, color in zip(_references(comparison, table), colors, strict=True) if at]
    for x_exact, y_exact, color in known:
        ax.plot(x_exact, y_exact, "*", color=color, markersize=11, markeredgecolor="black", zorder=5)


def _references(comparison: Comparison, table: pd.DataFrame) -> list[tuple[float, float] | tuple[()]]:
    """N and y of the exact reference of each configuration, empty where none is known."""
    unit = comparison.quantity.unit
    if comparison.quantity.metric not in ("memory/bits", "memory/bits_clamped", "memory/memorized_samples"):
        return [()] * len(table)
    fixed, rows = comparison.axes.fixed, table[list(comparison.axes.compared)].to_dict("records")
    found = [exact_reference({**fixed, **{str(key): value for key, value in row.items()}}) for row in rows]
    return [(f.num_samples, f.bits if unit == "bits" else f.num_samples) if f else () for f in found]


def _scale_vertically(ax: Axes, curves: pd.DataFrame, wide: bool) -> None:
    means = curves["mean"].to_numpy(dtype=float)
    positive = means[means > 0]
    logarithmic = wide and len(positive) > 0 and bool(positive.max() / positive.min() >= 30)
    scale(ax.yaxis, positive, logarithmic=logarithmic)
    if not logarithmic:
        from_zero(ax, y=True)


def _marks(comparison: Comparison, diagonal: bool) -> Iterator[Artist]:
    table, curves = comparison.capacity, comparison.curves
    interval = "" if table["ci_low"].isna().all() else ", 95 % CI"
    yield mark(f"capacity{interval}")
    if diagonal:
        label = "all memorized" if comparison.quantity.unit == "samples" else "all memorized, N log₂ V"
        yield mark(label, color=GREY, linestyle=":")
    if any(_references(comparison, table)):
        yield mark("exact", color="0.6", marker="*", linestyle="", markersize=9, markeredgecolor="black")
    if len(optimum_curves(comparison)):
        yield mark("exact optimum", color="0.3", linestyle="--")
    if (curves["diverged_share"] > 0).any():
        yield mark("some runs diverged", color="0.3", marker="x", linestyle="")
