"""Loss, bits or another measurement along the way, over steps: the runs at each configuration's best N."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter

from memcap.compare.comparison import Comparison
from memcap.compare.histories import STEP, load_histories, runs_to_draw
from memcap.compare.matching import configuration_of
from memcap.plot.given import as_comparison, require
from memcap.plot.hues import Hues, configurations_to_draw
from memcap.plot.lines import CROWDED, by_configuration, mark
from memcap.plot.panel import Entries, axes_or_new, finish, from_zero, place_legend, power_of_ten, scale
from memcap.study.units import unit

LOSSES = ("train/loss_nats", "train/loss_mse")


def training(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str | None = None,
    hue: str | Iterable[str] | Hues | None = None,
    legend: str | Entries | None = "right",
    histories: pd.DataFrame | None = None,
) -> Axes:
    """A measurement over steps, at the best N and nuisance values of each configuration.

    Thin: each run (seed); thick: their mean at the steps that all of them have. metric: None is the loss (nats per
    sample, or mean squared error); ``memory/bits`` or any other one of history.jsonl. histories: of ``load_histories``
    for (at least) ``runs_to_draw``, where several figures share them; None reads the run folders.

    Horizontal: steps, logarithmic from the first measured step on, so that step 0 has its place. Vertical: logarithmic
    where values are positive and span a factor of 50. Raises BadInput where no history has the metric.
    """
    comparison = as_comparison(comparison_or_frame)
    if histories is not None:
        there = comparison.frame["run_id"].isin(histories["run_id"].unique())
        comparison = dataclasses.replace(comparison, frame=comparison.frame[there])
    runs = runs_to_draw(comparison)
    runs = runs[runs["places_from_best"] == 0]
    if metric is None:
        metric = next((name for name in LOSSES if name in comparison.frame), LOSSES[0])
    table = load_histories(runs, [metric]) if histories is None else histories
    table = table[table["run_id"].isin(set(runs["run_id"]))]
    require(table, metric)
    table = table.dropna(subset=[metric])
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, comparison.axes.shown)
    configuration = dict(zip(runs["run_id"], configuration_of(runs, comparison).tolist(), strict=True))
    columns = table[["run_id", STEP, metric]]
    lines = by_configuration(columns, table["run_id"].map(configuration).to_numpy(dtype=int))
    chosen, note = configurations_to_draw(comparison, hues)
    for number, key in chosen:
        if number in lines:
            line = lines[number]
            steps, values = (_of_runs(line["run_id"], line[name]) for name in (STEP, metric))
            _draw_runs(ax, steps, values, hues.color(key), crowded=len(chosen) > CROWDED)
    _scale_steps(ax, table[STEP].to_numpy())
    every = table[metric].to_numpy()
    scale(ax.yaxis, every, logarithmic=None if (every > 0).all() else False)
    finish(ax, "steps", _label(metric))
    if isinstance(legend, str):
        hues.color_bar(ax)
    marks = [mark("each seed", color="0.5", linewidth=0.7)] if runs["seed"].nunique() > 1 else []
    place_legend(ax, [*hues.handles(), *marks], hues.legend_title(note), legend)
    return ax


def _of_runs(run_id: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Values of rows that stand run by run, one array for each run."""
    return np.split(values, np.flatnonzero(run_id[1:] != run_id[:-1]) + 1)


def _draw_runs(
    ax: Axes, steps: Sequence[np.ndarray], values: Sequence[np.ndarray], color: Any, *, crowded: bool
) -> None:
    """The runs of one configuration, and their mean where all of them were measured."""
    if len(steps) == 1:
        ax.plot(steps[0], values[0], color=color, linewidth=1.3, zorder=2)
        return
    if not crowded:
        points = [np.stack(run, 1) for run in zip(steps, values, strict=True)]
        ax.add_collection(LineCollection(points, colors=[color], linewidths=0.6, alpha=0.5, zorder=2))
    at, place = np.unique(np.concatenate(steps), return_inverse=True)
    common = np.bincount(place) == len(steps)
    mean = np.bincount(place, np.concatenate(values)) / len(steps)
    ax.plot(at[common], mean[common], color=color, linewidth=1.6, zorder=3)


def _scale_steps(ax: Axes, steps: np.ndarray) -> None:
    positive = steps[steps > 0]
    if len(positive) and positive.max() >= 20 * positive.min():
        ax.set_xscale("symlog", linthresh=max(1.0, float(positive.min())), linscale=0.5)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
        from_zero(ax, x=True)


def _label(metric: str) -> str:
    names = {"train/loss_nats": "training loss", "train/loss_mse": "training loss (mean squared error)"}
    name = names.get(
        metric, metric.rpartition("/")[2].replace("_", " ") if metric.startswith("memory/") else metric
    )
    return f"{name} ({unit(metric)})" if unit(metric) and unit(metric) != name else name
