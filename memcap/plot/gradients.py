"""How samples' gradients pull against each other: coherence, cancellation and noise scale over N or over steps."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from memcap.compare.comparison import Comparison
from memcap.errors import BadInput
from memcap.plot.given import as_comparison
from memcap.plot.hues import Hues
from memcap.plot.over_samples import LinesOverSamples
from memcap.plot.panel import Entries
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
    lines = LinesOverSamples(comparison, ax, metric, hue, "gradients over samples")
    lines.scale_y()
    return lines.finish(LABELS.get(metric, metric), legend)
