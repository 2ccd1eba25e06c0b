"""Any number of the runs' ends against N: a correlation, an accuracy, a norm."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.compare.over_samples import over_samples
from memcap.errors import BadInput
from memcap.plot.given import as_comparison, require
from memcap.plot.hues import Hues
from memcap.plot.lines import mark
from memcap.plot.over_samples import draw_over_samples
from memcap.plot.panel import GREY, Entries, axes_or_new, finish, place_legend, scale
from memcap.study.units import unit

LABELS = {
    "samples/initial_final_rank_correlation": "rank correlation, initial and final loss",
    "samples/alignment_final_rank_correlation": "rank correlation, alignment and final loss",
}


def metric_over_samples(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str,
    hue: str | Iterable[str] | Hues | None = None,
    legend: str | Entries | None = "right",
) -> Axes:
    """A metric of the summary at the end of training against N, a line for each configuration, on linear axes.

    Arithmetic means over seeds with 95 % bootstrap bands, of runs that did not diverge, at the nuisance values that are
    best for bits; diamonds at the N of capacity; a line at 0 where signs differ. For what spans decades there are
    ``sharpness`` and ``gradients``. Raises BadInput where the metric was not measured, or at one N only.
    """
    comparison = as_comparison(comparison_or_frame)
    require(comparison.frame, metric)
    table = over_samples(comparison, metric, geometric=False)
    if table["num_samples"].nunique() < 2:
        raise BadInput(f"metric_over_samples needs {metric} at two or more data.num_samples")
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, comparison.axes.shown)
    note = draw_over_samples(ax, comparison, table, hues)
    if (table["center"] < 0).any():
        ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    for axis in (ax.xaxis, ax.yaxis):
        scale(axis, [], logarithmic=False)
    name = LABELS.get(metric, metric.partition("/")[2].replace("_", " ").replace("/", " "))
    finish(ax, "N (samples)", f"{name} ({unit(metric)})" if unit(metric) else name)
    if isinstance(legend, str):
        hues.color_bar(ax)
    place_legend(ax, [*hues.handles(), mark("N of capacity")], hues.legend_title(note), legend)
    return ax
