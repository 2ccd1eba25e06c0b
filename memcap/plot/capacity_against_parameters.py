"""Capacity against the number of parameters: points with their intervals, the law that was chosen, and the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memcap.compare.axes import grouping
from memcap.compare.comparison import Comparison
from memcap.compare.fit_error import fit_band
from memcap.compare.fits import line_points
from memcap.compare.laws import LAWS
from memcap.compare.matching import matching, row_keys
from memcap.errors import BadInput
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues
from memcap.plot.panel import Entries, axes_or_new, finish, from_zero, place_legend, scale
from memcap.plot.published import draw_at

STYLES: dict[str, Any] = {"proportional": "--", "linear": "-.", "power_law": ":"}
FORMULAS = {"proportional": "C = aP", "linear": "C = aP + b", "power_law": "C = aPᵏ"}
NAMES = {
    "num_parameters": "parameters",
    "num_parameters_without_head": "parameters without the head",
    "num_parameters_effective": "effective parameters",
}


def capacity_against_parameters(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    count: str = "num_parameters",
    hue: str | Iterable[str] | Hues | None = None,
    published: str | pd.DataFrame | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """A point for each configuration with its 95 % interval, and laws of ``memcap.fits`` through each line of them.

    Solid: the law that was chosen, with the 95 % band of the law itself; the legend has its slope (units of y per
    parameter: of C = aP the ratio, of C = aP + b what a parameter adds) or exponent with the interval. Thin: the other
    laws, which the note of the fit may not tell apart. Nothing is drawn beyond the points.

    Horizontal: ``count``, one of num_parameters, num_parameters_without_head, num_parameters_effective. Vertical: the
    capacity in the comparison's y (bits). Both are logarithmic where either spans a factor of 50. published: of a
    preset (``memory2/width``) or a table with the columns of ``memcap.published``, drawn as stars. hue: compared keys
    that colours tell apart; None: those beside ``axes.x``. Raises BadInput where there is one count of parameters only.
    """
    comparison = as_comparison(comparison_or_frame)
    table, value = comparison.capacity, f"capacity_{comparison.quantity.unit}"
    if count not in table or table[count].nunique() < 2:
        raise BadInput(f"capacity_against_parameters needs configurations of two or more values of {count}")
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, comparison.axes.lines)
    handles: list[Artist] = []
    for _, line in table.groupby(grouping(table, comparison.axes.lines), sort=False):
        key = row_keys(line, hues.keys)[0]
        half = (line["ci_high"] - line[value]).fillna(0.0)
        ax.errorbar(
            line[count], line[value], half, fmt=hues.marker(key), color=hues.color(key), markersize=4.5, capsize=2.5,
            linewidth=1.1, zorder=3,
        )  # fmt: skip
        chosen = _draw_laws(ax, comparison, line, count, hues.color(key), crowded=hues.many)
        if not hues.many:
            name = f"{hues.label(key)}: " if len(hues.values) > 1 else ""
            handles.append(_entry(f"{name}{_law_text(chosen, comparison)}", key, hues))
    others = draw_at(ax, comparison, published, table[count].tolist(), hues)
    wide = _spans(table[count]) or _spans(table[value])
    scale(ax.xaxis, table[count], logarithmic=wide)
    scale(ax.yaxis, table[value], logarithmic=wide and bool((table[value] > 0).all()))
    if not wide:
        from_zero(ax, x=True, y=True)
    what = comparison.quantity.unit if comparison.quantity.unit != "value" else comparison.quantity.metric
    finish(ax, f"P ({NAMES.get(count, count)})", f"capacity ({what})")
    if isinstance(legend, str):
        hues.color_bar(ax)
    place_legend(ax, [*handles, *_styles(comparison, count, hues), *others], hues.legend_title(), legend)
    return ax


def _draw_laws(
    ax: Axes, comparison: Comparison, line: pd.DataFrame, count: str, color: Any, *, crowded: bool
) -> pd.Series | None:
    """The laws of one line over the range of its points; the row of the one that was chosen."""
    own = {key: line[key].iloc[0] for key in comparison.axes.lines}
    rows = (
        matching(comparison.fits, {**own, "parameter_count": count})
        if len(comparison.fits)
        else comparison.fits
    )
    points, _ = line_points(line, count, f"capacity_{comparison.quantity.unit}")
    chosen = None
    if len(rows):
        at = np.geomspace(points.parameters_C.min(), points.parameters_C.max(), 60)
    for _, row in rows.iterrows():
        law = next(law for law in LAWS if law.name == row["law"])
        middle, low, high = fit_band(law, points, at)
        if not row["chosen"]:
            if not crowded:
                ax.plot(
                    at, middle, color=color, linewidth=0.8, linestyle=STYLES[law.name], alpha=0.8, zorder=1
                )
            continue
        chosen = row
        ax.plot(at, middle, color=color, linewidth=0.8 if crowded else 1.6, zorder=2)
        if not crowded and np.isfinite(high).all():
            ax.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0, zorder=1)
    return chosen


def _law_text(chosen: pd.Series | None, comparison: Comparison) -> str:
    if chosen is None:
        return "no law chosen"
    name = "exponent" if chosen["law"] == "power_law" else "slope"
    ends = (chosen[f"{name}_low"], chosen[f"{name}_high"])
    interval = "" if np.isnan(ends[0]) else f" [{ends[0]:.3g}, {ends[1]:.3g}]"
    if name == "exponent":
        return f"C ∝ P^{chosen[name]:.3g}{interval}"
    per = "per added parameter" if chosen["law"] == "linear" else "per parameter"
    return f"{chosen[name]:.3g}{interval} {comparison.quantity.unit} {per}"


def _entry(label: str, key: tuple[Any, ...], hues: Hues) -> Artist:
    return Line2D([], [], color=hues.color(key), marker=hues.marker(key), markersize=4.5, label=label)


def _styles(comparison: Comparison, count: str, hues: Hues) -> list[Artist]:
    """What thin lines are: laws that some line did not choose."""
    fits = comparison.fits
    if hues.many or fits.empty:
        return []
    others = fits[(fits["parameter_count"] == count) & ~fits["chosen"].astype(bool)]["law"].unique()
    return [
        Line2D(
            [], [], color="0.4", linewidth=0.8, linestyle=STYLES[law], label=f"not chosen: {FORMULAS[law]}"
        )
        for law in STYLES
        if law in others
    ]


def _spans(values: pd.Series) -> bool:
    positive = values[values > 0]
    return len(positive) > 1 and bool(positive.max() / positive.min() >= 50)
