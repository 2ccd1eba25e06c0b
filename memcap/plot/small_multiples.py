"""One figure of many panels: a row for each facet and a column for each metric, with one legend for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.optimum import OF_METRIC
from memcap.compare.stability import PRECONDITIONED, RAW, THRESHOLD
from memcap.errors import BadInput
from memcap.plot.capacity_against_parameters import capacity_against_parameters
from memcap.plot.given import as_comparison, checked_keys, parts, varying
from memcap.plot.hues import Hues, key_label, value_label
from memcap.plot.panel import GREY, Entries, let_notebooks_draw, place_legend
from memcap.plot.training import LOSSES

PANEL_INCHES = (3.5, 2.5)
MOST_PANELS = 12
MOST_ROWS = 4
COLUMNS = 3


def figure(
    draw: Callable[..., Axes],
    comparison_or_frame: Comparison | pd.DataFrame,
    *,
    facet: str | Iterable[str] | None = None,
    hue: str | Iterable[str] | None = None,
    metrics: Sequence[str] | None = None,
    title: str | None = None,
    **options: Any,
) -> Figure:
    """Small multiples of ``draw``, one of this package's functions (``memcap.plot.sharpness``).

    facet: compared keys, a panel for each combination of their values; None: those that neither hue nor the horizontal
    axis shows; an empty tuple: one panel. hue as for ``draw``; None: the comparison's x (over parameters: its hue).
    metrics: a column for each (``metric=`` of ``draw``). options go to ``draw``. Panels share their axes' ranges; of
    more than 12 facets (4 with metrics) an even choice is drawn, and said. Returns the figure, outside pyplot:
    ``figure.savefig(...)``, or as the last line of a notebook's cell. Raises BadInput where no panel has data.
    """
    comparison = as_comparison(comparison_or_frame)
    over_parameters = draw is capacity_against_parameters
    hue_keys, facet_keys = _placed(comparison, hue, facet, over_parameters)
    hues = Hues(comparison.capacity, hue_keys)
    of_value = parts(_slim(comparison, [*(metrics or []), str(options.get("metric"))]), facet_keys)
    found = list(of_value)
    chosen = _evenly(found, MOST_ROWS if metrics else MOST_PANELS)
    columns = len(metrics) if metrics else min(COLUMNS, len(chosen))
    rows = len(chosen) if metrics else -(-len(chosen) // columns)
    words = " · ".join(filter(None, (title, _left_out(len(chosen), len(found)))))
    below = 0.2 * (3 + len(hues.values)) + 0.1 if over_parameters and not hues.many else 0.0
    beside = 0.35 if below else 2.0 + 0.06 * max(0, hues.widest_label() - 14)
    made, panels = _grid(rows, columns, bool(metrics), beside, below, bool(words))
    made.suptitle(words, fontsize="medium", y=1 - 0.08 / made.get_figheight(), va="top", parse_math=False)
    entries, problems = Entries(), []
    for number, value in enumerate(chosen):
        for column, metric in enumerate(metrics or [None]):
            ax = panels[number, column] if metrics else panels.flat[number]
            given = {**options, **({} if metric is None else {"metric": metric})}
            try:
                draw(of_value[value], ax, hue=hues, legend="below" if below else entries, **given)
            except BadInput as problem:
                ax.text(0.5, 0.5, "no data", transform=ax.transAxes, ha="center", color=GREY)
                problems.append(problem)
            if column == 0:
                ax.set_title(_title(facet_keys, value), fontsize="medium", loc="left", parse_math=False)
    if len(problems) == len(chosen) * len(metrics or [None]):
        raise problems[0]
    place_legend(panels[0, -1], list(entries.by_label.values()), entries.title, "right")
    hues.color_bar(panels[0, -1])
    _label_outer(panels, len(chosen) * (len(metrics) if metrics else 1), bool(metrics))
    let_notebooks_draw()
    return made


def _slim(comparison: Comparison, metrics: Sequence[str]) -> Comparison:
    """The same with few columns in its frame: tables of 170 are slow to cut."""
    axes, frame = comparison.axes, comparison.frame
    wanted = {"run_id", "status", REPLICATE, SIZE, "optimizer.kind", RAW, PRECONDITIONED, THRESHOLD, *LOSSES}
    wanted |= {*axes.compared, *axes.nuisance, *metrics, comparison.quantity.metric, "gradients/coherence"}
    wanted |= set(OF_METRIC.values())
    return dataclasses.replace(comparison, frame=frame[[name for name in frame if name in wanted]])


def _grid(
    rows: int, columns: int, columns_differ: bool, right: float, below: float, titled: bool
) -> tuple[Figure, np.ndarray]:
    """A figure and its panels, at places counted in inches: constrained layout would take most of the time."""
    width, height = PANEL_INCHES
    left, top, bottom = 0.75, 0.3 + 0.25 * titled, 0.55 + below
    across, down = (0.85 if columns_differ else 0.25), 0.5 + below
    whole = (
        left + columns * width + (columns - 1) * across + right,
        top + rows * height + (rows - 1) * down + bottom,
    )
    figure = Figure(figsize=whole)
    FigureCanvasAgg(figure)
    space = {
        "left": left / whole[0], "right": 1 - right / whole[0], "top": 1 - top / whole[1],
        "bottom": bottom / whole[1], "wspace": across / width, "hspace": down / height,
    }  # fmt: skip
    share: Any = "col" if columns_differ else True
    panels = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share, gridspec_kw=space)
    return figure, panels


def _left_out(drawn: int, found: int) -> str:
    return f"{drawn} of {found} facets" if drawn < found else ""


def _label_outer(panels: np.ndarray, number: int, columns_differ: bool) -> None:
    """Words on the axes at the left and below only; panels that are not used are not seen."""
    columns = panels.shape[1]
    for place, ax in enumerate(panels.flat):
        ax.set_visible(place < number)
        if place + columns < number:
            ax.set_xlabel("")
        if place % columns and not columns_differ:
            ax.set_ylabel("")
        if number - columns <= place < number:
            ax.tick_params(labelbottom=True)


def _placed(
    comparison: Comparison,
    hue: str | Iterable[str] | None,
    facet: str | Iterable[str] | None,
    over_parameters: bool,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys of colours and keys of panels."""
    axes = comparison.axes
    shown = varying(comparison, axes.lines if over_parameters else axes.shown)
    facet_keys = None if facet is None else checked_keys(comparison, facet)
    left = [key for key in shown if key not in (facet_keys or ())]
    if hue is not None:
        hue_keys = checked_keys(comparison, hue)
    elif facet_keys is not None:
        hue_keys = tuple(left)
    else:
        hue_keys = tuple(left[:1])
    if facet_keys is None:
        facet_keys = tuple(key for key in left if key not in hue_keys)
    return hue_keys, facet_keys


def _title(keys: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(
        f"{key_label(key)} = {value_label(value)}" for key, value in zip(keys, values, strict=True)
    )


def _evenly(items: Sequence[Any], at_most: int) -> list[Any]:
    if len(items) <= at_most:
        return list(items)
    return [items[place] for place in np.unique(np.linspace(0, len(items) - 1, at_most).round().astype(int))]
