"""Sharpness against N, raw or as the optimizer sees it, with its jump and the N of capacity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_of
from memcap.compare.stability import PRECONDITIONED, RAW, Thresholds, stability_thresholds
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import by_configuration, mark
from memcap.plot.over_samples import LinesOverSamples
from memcap.plot.panel import GREY, Entries
from memcap.plot.published import draw_over_n

LABELS = {RAW: "sharpness λ₁(H)", PRECONDITIONED: "preconditioned λ₁(D⁻¹H)"}


def sharpness(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str = RAW,
    hue: str | Iterable[str] | Hues | None = None,
    published: str | pd.DataFrame | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """The largest eigenvalue of the loss's Hessian at the end of training against N, a line for each configuration.

    Geometric means over seeds with 95 % bootstrap bands, at the nuisance values that are best for bits. A horizontal
    bar halfway up the step marks where ``memcap.jamming`` found a jump of the raw one, as long as its 95 % interval;
    none where it found none. Diamonds: the N of capacity. Dotted verticals: exact references. Dashed: the optimizer's
    threshold of stability, on the axes of the eigenvalue that it bounds: raw for gradient descent (Cohen et al.
    2021, arXiv 2103.00065), preconditioned for Adam (Cohen et al. 2022, arXiv 2207.14484); where learning rates make
    it differ among the runs that are drawn it is left out, and the legend says so.

    published: of a preset (``memory1/jamming``) or a table with the columns of ``memcap.published``: stars.

    metric: ``sharpness/top_eigenvalue`` or ``sharpness/preconditioned``; in nats per squared weight, the
    second one per step's learning rate. Horizontal: N in samples. Raises BadInput where it was not measured, or at
    one N only.
    """
    comparison = as_comparison(comparison_or_frame)
    lines = LinesOverSamples(comparison, ax, metric, hue, "sharpness")
    thresholds = stability_thresholds(comparison, metric)
    common = [thresholds.common] if thresholds and thresholds.common else []
    others = draw_over_n(lines.ax, comparison, published, metric, lines.hues)
    lines.scale_y(common)
    for threshold in common:
        lines.ax.axhline(threshold, color=GREY, linestyle="--", linewidth=1)
    jumps = _draw_jumps(lines.ax, comparison, lines.table, lines.hues)
    marks = [*_marks(comparison, jumps, thresholds), *others]
    return lines.finish(LABELS.get(metric, metric), legend, marks)


def _draw_jumps(ax: Axes, comparison: Comparison, table: pd.DataFrame, hues: Hues) -> bool:
    """A bar for each jump that was found, in the middle of its step; whether there is any."""
    jumps = comparison.jamming
    if jumps.empty:
        return False
    numbers = configuration_of(jumps, comparison).tolist()
    row_of = dict(zip(numbers, jumps.to_dict("records"), strict=True))
    lines = by_configuration(table, table["configuration"].to_numpy())
    bars: list[tuple[float, float, float, float]] = []
    for number, key in configurations_to_draw(comparison, hues)[0]:
        row, line = row_of.get(number), lines.get(number)
        if row is None or line is None:
            continue
        if not np.isnan(row["exact_num_samples"]):
            ax.axvline(row["exact_num_samples"], color=hues.color(key), linestyle=":", linewidth=1)
        if row["jump"]:
            at, low, high = row["jump_num_samples"], row["jump_low"], row["jump_high"]
            height = np.exp(np.interp(at, line["num_samples"], np.log(line["center"])))
            bars.append((at, height, max(0.0, at - low), max(0.0, high - at)))
    if not bars:
        return False
    x, y, left, right = np.array(bars).T
    ax.errorbar(
        x, y, xerr=np.nan_to_num([left, right]), fmt="|", color="black", markersize=9, capsize=3.5,
        markeredgewidth=1.4, linewidth=1.4, zorder=5,
    )  # fmt: skip
    return True


def _marks(comparison: Comparison, jumps: bool, thresholds: Thresholds | None) -> Iterator[Artist]:
    if jumps:
        yield mark("jump of λ₁(H), 95 % CI", color="black", marker="|", markersize=9, linewidth=1.4)
    if not comparison.jamming.empty and comparison.jamming["exact_num_samples"].notna().any():
        yield mark("largest separable N, exact", color="0.3", linestyle=":")
    if thresholds is not None and thresholds.common is not None:
        yield mark("stability threshold", color=GREY, linestyle="--")
    elif thresholds is not None:
        yield mark("stability thresholds\ndiffer, none is drawn", linestyle="")
