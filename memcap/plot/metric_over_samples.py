"""Any number of the runs' ends against N: a correlation, an accuracy, a norm."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues
from memcap.plot.over_samples import LinesOverSamples
from memcap.plot.panel import GREY, Entries, scale
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
    best for bits; diamonds at the N of capacity; a line at 0 where a mean is negative. For what spans decades there are
    ``sharpness`` and ``gradients``. Raises BadInput where the metric was not measured, or at one N only.
    """
    comparison = as_comparison(comparison_or_frame)
    lines = LinesOverSamples(comparison, ax, metric, hue, "metric_over_samples", geometric=False)
    if (lines.table["center"] < 0).any():
        lines.ax.axhline(0.0, color=GREY, linewidth=0.8, zorder=1)
    for axis in (lines.ax.xaxis, lines.ax.yaxis):
        scale(axis, [], logarithmic=False)
    name = LABELS.get(metric, metric.partition("/")[2].replace("_", " ").replace("/", " "))
    return lines.finish(f"{name} ({unit(metric)})" if unit(metric) else name, legend)
