"""How samples' gradients pull against each other: coherence, cancellation and noise scale over N or over steps."""

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
from memcap.plot.panel import Entries, axes_or_new, finish, place_legend, scale
from memcap.plot.training import training

COHERENCE, CANCELLATION, NOISE = "gradients/coherence", "gradients/cancellation", "gradients/noise_scale"
METRICS = (COHERENCE, CANCELLATION, NOISE)
LABELS = {
    COHERENCE: "coherence (1: all agree)",
    CANCELLATION: "cancellation (nats per weight)",
    NOISE: "noise scale (samples)",
}


def gradients(
    comparison_or_frame: Comparison | pd.DataFrame,
    ax: Axes | None = None,
    *,
    metric: str = COHERENCE,
    over: str = "samples",
    hue: str | Iterable[str] | Hues | None = None,
    legend: str | Entries | None = "right",
    histories: pd.DataFrame | None = None,
) -> Axes:
    """One statistic of the samples' gradients g_i, a line for each configuration, on logarithmic axes where it spans.

    metric: ``gradients/coherence`` (1 where all samples agree, 0 at any stationary point, so alone it is a convergence
    meter), ``gradients/cancellation`` (what is left of the samples' own pull while the sum vanishes),
    ``gradients/noise_scale`` (McCandlish et al. 2018, arXiv 1812.06162) or their kin of docs/MEASURES.md.
    over: ``samples``, at the end of training against N, geometric means over seeds with 95 % bootstrap bands and
    diamonds at the N of capacity; ``steps``, along the way at each configuration's best N, as ``training`` draws it
    from ``histories`` or the run folders. Raises BadInput where it was not measured, or at one N only.
    """
    if over not in ("samples", "steps"):
        raise BadInput(f"over must be samples or steps, got {over}")
    comparison = as_comparison(comparison_or_frame)
    if over == "steps":
        return training(comparison, ax, metric=metric, hue=hue, legend=legend, histories=histories)
    require(comparison.frame, metric)
    table = over_samples(comparison, metric)
    if table["num_samples"].nunique() < 2:
        raise BadInput(f"gradients over samples needs a positive {metric} at two or more data.num_samples")
    ax = axes_or_new(ax)
    hues = Hues.of(comparison, hue, comparison.axes.shown)
    note = draw_over_samples(ax, comparison, table, hues)
    sizes = table["num_samples"].to_numpy()
    scale(ax.xaxis, sizes, logarithmic=bool(sizes.max() >= 100 * sizes.min()))
    scale(ax.yaxis, table[["low", "center", "high"]].to_numpy())
    finish(ax, "N (samples)", LABELS.get(metric, metric))
    if isinstance(legend, str):
        hues.color_bar(ax)
    place_legend(ax, [*hues.handles(), mark("N of capacity")], hues.legend_title(note), legend)
    return ax
