"""The samples of one run: which of them are memorized, against what was known of them before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from memcap.errors import BadInput
from memcap.plot.hues import DISTINCT
from memcap.plot.panel import axes_or_new, finish, place_legend, scale

if TYPE_CHECKING:
    from memcap.study.run import Run

LABELS = {
    "initial_loss": "loss at step 0 (nats)",
    "final_loss": "loss at the end (nats)",
    "margin": "margin at the end (logits)",
    "alignment": "alignment with the data's bias",
}
COLORS = {True: DISTINCT[0], False: DISTINCT[1]}


def samples(
    run: Run,
    ax: Axes | None = None,
    *,
    x: str = "initial_loss",
    y: str = "final_loss",
    legend: str | None = "right",
) -> Axes:
    """A point for each sample of a run: ``initial_loss``, ``final_loss``, ``margin`` or ``alignment`` on either axis.

    Blue: memorized, the label's logit is the largest; orange: not. The title has Spearman's rank correlation of the two
    quantities over all samples. A loss that spans a factor of 50 stands on a logarithmic axis. Definitions are those of
    docs/MEASURES.md. Raises BadInput where the run has no samples.npz (``measure.samples=true``), or no such column.
    """
    from scipy.stats import spearmanr

    values = run.arrays("samples")
    for name in (x, y):
        if name not in values:
            raise BadInput(f"samples of run {run.run_id} have no {name}; known: {', '.join(values)}")
    ax = axes_or_new(ax)
    memorized_N = (
        values["correct"].astype(bool) if "correct" in values else np.ones(len(values[x]), dtype=bool)
    )
    handles = []
    for is_memorized, label in ((True, "memorized"), (False, "not memorized")):
        own_N = memorized_N == is_memorized
        text = f"{label}: {own_N.sum()} of {len(own_N)}"
        handles += ax.plot(
            values[x][own_N],
            values[y][own_N],
            ".",
            color=COLORS[is_memorized],
            markersize=5,
            alpha=0.7,
            label=text,
        )
    for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
        positive = name.endswith("loss") and bool((values[name] > 0).all())
        scale(axis, values[name], logarithmic=None if positive else False)
    finish(ax, LABELS.get(x, x), LABELS.get(y, y))
    correlation = spearmanr(values[x], values[y]).statistic
    ax.set_title(f"rank correlation {correlation:+.2f}".replace("-", "−"), fontsize="medium", loc="left")
    place_legend(ax, handles, None, legend)
    return ax
