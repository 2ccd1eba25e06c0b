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
from memcap.compare.references import exact_reference
from memcap.errors import BadInput
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.panel import GREY, Entries, axes_or_new, finish, from_zero, place_legend, scale


def capacity_curves(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    hue: str | Iterable[str] | Hues | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """What is memorized against N, a line for each configuration with its 95 % bootstrap band over seeds.

    Lines and bands are those of ``memcap.curves``: at each N the nuisance values are chosen on other seeds than those
    averaged. A diamond marks each capacity at its best N with its 95 % interval (``memcap.capacity``); it may lie off
    its line, since seeds that chose N do not measure there. Dotted: N log2 V, all labels memorized. Stars: exact
    references where one is known (Cover's N = 2n of a plane). Crosses: an N at which runs diverged (they count 0).

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
    by_configuration = curves.assign(configuration=configuration_of(curves, comparison)).groupby(
        "configuration"
    )
    _draw_lines(ax, comparison, dict(iter(by_configuration)), chosen, hues)
    sizes = curves["num_samples"].to_numpy(dtype=float)
    wide = bool(sizes.max() >= 100 * sizes.min())
    scale(ax.xaxis, sizes, logarithmic=wide)
    known = (
        curves[["num_samples", "diagonal"]].dropna().drop_duplicates("num_samples").sort_values("num_samples")
    )
    _scale_vertically(ax, curves, wide)
    if len(known):
        line = Line2D(
            known["num_samples"], known["diagonal"], color=GREY, linestyle=":", linewidth=1.2, zorder=1
        )
        ax.add_artist(line)  # not add_line: the diagonal may leave the picture
    what = (
        "memorized samples"
        if unit == "samples"
        else "memorized bits"
        if unit == "bits"
        else comparison.quantity.metric
    )
    finish(ax, "N (samples)", what)
    if isinstance(legend, str):
        hues.color_bar(ax)
    place_legend(
        ax, [*hues.handles(), *_marks(comparison, bool(len(known)))], hues.legend_title(note), legend
    )
    return ax


def _draw_lines(
    ax: Axes,
    comparison: Comparison,
    lines: dict[Any, pd.DataFrame],
    chosen: list[tuple[int, tuple[Any, ...]]],
    hues: Hues,
) -> None:
    """Lines, bands and marks."""
    value = f"capacity_{comparison.quantity.unit}"
    crowded = len(chosen) > 10
    for number, key in chosen:
        line, row, color = lines[number], comparison.capacity.iloc[number], hues.color(key)
        x, mean = line["num_samples"].to_numpy(), line["mean"].to_numpy()
        marker = "" if crowded else hues.marker(key)
        ax.plot(x, mean, color=color, marker=marker, markersize=3.5, linewidth=1.3, zorder=2)
        if line["low"].notna().any() and not crowded:
            ax.fill_between(x, line["low"], line["high"], color=color, alpha=0.18, linewidth=0)
        diverged = line["diverged_share"].to_numpy() > 0
        ax.plot(x[diverged], mean[diverged], "x", color=color, markersize=7, zorder=3)
        half = (row["ci_high"] - row["ci_low"]) / 2
        ax.errorbar(
            row["best_num_samples"], row[value], None if np.isnan(half) else half, fmt="D", color=color,
            markersize=4 if crowded else 6, markeredgecolor="black", markeredgewidth=0.8, capsize=3, zorder=4,
        )  # fmt: skip
        for x_exact, y_exact in _references(comparison, row):
            ax.plot(x_exact, y_exact, "*", color=color, markersize=11, markeredgecolor="black", zorder=5)


def _references(comparison: Comparison, row: pd.Series) -> Iterator[tuple[float, float]]:
    unit = comparison.quantity.unit
    if comparison.quantity.metric not in ("memory/bits", "memory/bits_clamped", "memory/memorized_samples"):
        return
    found = exact_reference({**comparison.axes.fixed, **{str(key): value for key, value in row.items()}})
    if found is not None:
        yield found.num_samples, found.bits if unit == "bits" else found.num_samples


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
    yield Line2D(
        [], [], color="0.6", marker="D", linestyle="", markeredgecolor="black", label=f"capacity{interval}"
    )
    if diagonal:
        label = "all memorized" if comparison.quantity.unit == "samples" else "all memorized, N log₂ V"
        yield Line2D([], [], color=GREY, linestyle=":", label=label)
    if any(True for _, row in table.iterrows() for _ in _references(comparison, row)):
        yield Line2D(
            [],
            [],
            color="0.6",
            marker="*",
            linestyle="",
            markersize=9,
            markeredgecolor="black",
            label="exact",
        )
    if (curves["diverged_share"] > 0).any():
        yield Line2D([], [], color="0.3", marker="x", linestyle="", label="some runs diverged")
