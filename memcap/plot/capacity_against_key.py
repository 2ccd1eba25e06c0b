"""Capacity against a compared key: activations side by side, a frequency, a budget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.matching import comparable, configuration_at_best_nuisance, row_keys
from memcap.errors import BadInput
from memcap.plot.given import as_comparison, checked_keys
from memcap.plot.hues import Hues, key_label, value_label
from memcap.plot.lines import mark
from memcap.plot.panel import GREY, Entries, axes_or_new, finish, from_zero, place_legend, scale
from memcap.plot.published import draw_at

WIDE = 20.0  # largest over smallest value of the key: from here on its axis is logarithmic
MOST_TICKS = 8  # of values that are labelled one by one
BESIDE_INCHES = 0.08  # seeds stand beside their mean, whose bar would hide them


def capacity_against_key(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    key: str | None = None,
    hue: str | Iterable[str] | Hues | None = None,
    published: str | pd.DataFrame | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """The capacity of each configuration with its 95 % interval over the values of a compared key.

    Numbers stand where they are, joined by a line for each combination of the other keys, on a logarithmic axis where
    they span a factor of 20; names stand side by side in the order of the sweep. Dots: each seed at its configuration's
    best N. Dotted, where all runs have one N: N log2 V, all labels memorized.

    key: None is the comparison's x. Vertical: the comparison's y (bits). hue: compared keys that colours tell apart;
    None: those beside ``key``. published: of a preset (``memory2/sine``) or a table with the columns of
    ``memcap.published``, drawn as stars. Raises BadInput where no key is compared, or for one that is not.
    """
    comparison = as_comparison(comparison_or_frame)
    key = key or comparison.axes.x
    if key is None:
        raise BadInput("capacity_against_key needs runs that differ in a key beside N and seed")
    checked_keys(comparison, key)
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, [name for name in comparison.axes.shown if name != key])
    places_C = _places(ax, comparison.capacity[key])
    _draw_lines(ax, comparison, places_C, hues, joined=_is_numeric(comparison.capacity[key]))
    marks: list[Artist] = draw_at(ax, comparison, published, list(places_C), hues)
    sizes = comparison.curves["num_samples"].unique()
    diagonal = comparison.curves["diagonal"].dropna().unique()
    if len(sizes) == 1 and len(diagonal) and np.allclose(diagonal, diagonal[0], rtol=1e-3):
        ax.axhline(diagonal[0], color=GREY, linestyle=":", linewidth=1.2, zorder=1)
        marks.append(mark("all memorized", color=GREY, linestyle=":"))
    scale(ax.yaxis, [])
    from_zero(ax, y=True)
    unit = comparison.quantity.unit
    what = unit if unit != "value" else comparison.quantity.metric
    where = f" at N = {int(sizes[0]):,}" if len(sizes) == 1 else ", best N"
    finish(ax, key_label(key), f"memorized {what}{where}" if unit != "value" else f"{what}{where}")
    if isinstance(legend, str):
        hues.color_bar(ax)
    interval = "" if comparison.capacity["ci_low"].isna().all() else ", 95 % CI"
    seeds = [mark("each seed", color="0.5", marker=".", linestyle="")] if interval else []
    named = f"capacity{interval}" if len(sizes) > 1 else f"mean over seeds{interval}"
    capacity = mark(named, color="0.3", marker="o", markersize=4.5, linestyle="")
    place_legend(ax, [*hues.handles(), capacity, *seeds, *marks], hues.legend_title(), legend)
    return ax


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _places(ax: Axes, values: pd.Series) -> np.ndarray:
    """Where each configuration stands on the horizontal axis, [configurations], which is scaled and labelled."""
    if _is_numeric(values):
        numbers: np.ndarray = values.to_numpy(dtype=float)
        wide = bool((numbers > 0).all() and numbers.max() >= WIDE * numbers.min())
        scale(ax.xaxis, numbers, logarithmic=wide)
        found = np.unique(numbers)
        if wide and len(found) <= MOST_TICKS:
            ax.set_xticks(found, [value_label(value) for value in found])
        return numbers
    names = [comparable(value) for value in values]
    order = list(dict.fromkeys(names))
    ax.set_xticks(range(len(order)), [value_label(value) for value in order])
    ax.set_xlim(-0.5, len(order) - 0.5)
    return np.array([order.index(name) for name in names], dtype=float)


def _draw_lines(ax: Axes, comparison: Comparison, places_C: np.ndarray, hues: Hues, *, joined: bool) -> None:
    """Points with intervals, each seed, and the lines between numbers."""
    table = comparison.capacity
    value_C = table[f"capacity_{comparison.quantity.unit}"].to_numpy(dtype=float)
    half_C = (table["ci_high"] - table["ci_low"]).fillna(0.0).to_numpy() / 2
    keys = row_keys(table, hues.keys)
    place_R, value_R = _seeds(comparison, places_C)
    for key in dict.fromkeys(keys):
        rows = np.flatnonzero([other == key for other in keys])
        rows = rows[np.argsort(places_C[rows], kind="stable")]
        color: Any = hues.color(key)
        ax.errorbar(
            places_C[rows], value_C[rows], half_C[rows], color=color, marker=hues.marker(key), markersize=5,
            capsize=3, linewidth=1.3, linestyle="-" if joined else "", zorder=3,
        )  # fmt: skip
        own_R = np.isin(place_R[:, 1], rows)
        whole: Any = ax.get_figure()
        beside = offset_copy(ax.transData, whole, x=BESIDE_INCHES)
        ax.plot(
            place_R[own_R, 0],
            value_R[own_R],
            ".",
            color=color,
            markersize=5,
            alpha=0.6,
            zorder=2,
            transform=beside,
        )


def _seeds(comparison: Comparison, places_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each run at its configuration's best N and nuisance values: place and configuration, [runs, 2]; y, [runs]."""
    configuration_R = configuration_at_best_nuisance(comparison)
    best_C = comparison.capacity["best_num_samples"].to_numpy()
    drawn_R = (configuration_R >= 0) & (comparison.frame[SIZE].to_numpy() == best_C[configuration_R])
    numbers = configuration_R[drawn_R]
    values_R = comparison.quantity.values(comparison.frame)[drawn_R]
    return np.stack([places_C[numbers], numbers], 1), values_R
