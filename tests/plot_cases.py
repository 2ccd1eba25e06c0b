"""Comparisons with known answers, with everything that a figure shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from comparison_cases import BITS_PER_LABEL, synthetic_frame
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer

SIZES = (50, 100, 150, 200, 250, 300)


def saturating(width: int, size: int, seed: int, rate: float) -> float:
    """All labels up to 20 · width bits, from there on fewer the more samples there are."""
    everything, most = size * float(BITS_PER_LABEL), 20.0 * width + 5 * seed
    return min(everything, most - 0.1 * max(0.0, everything - most))


def jumping(width: int, size: int, seed: int, rate: float) -> float:
    """Sharpness that jumps by 1000 after N = 5 · width."""
    return (1e3 if size > 5 * width else 1.0) * (1 + 0.1 * np.sin(size + 7 * seed))


def plotted_frame(**options: Any) -> pd.DataFrame:
    """A table of runs with bits that saturate, sharpness that jumps, and gradients' statistics."""
    given: dict[str, Any] = {"widths": (16, 24, 32), "sizes": SIZES, "seeds": range(3), "bits": saturating}
    frame = synthetic_frame(**{**given, "sharpness": jumping, **options})
    frame["optimizer.kind"] = "adam"
    frame["sharpness/preconditioned"] = 10 * frame["sharpness/top_eigenvalue"]
    frame["sharpness/threshold"] = 3800.0
    frame["gradients/coherence"] = 1 / frame["data.num_samples"]
    frame["gradients/cancellation"] = frame["data.num_samples"] / 100
    frame["gradients/noise_scale"] = frame["data.num_samples"] - 1.0
    return frame


def two_activations(**options: Any) -> pd.DataFrame:
    """The same for relu and silu, of which silu stores twice as much."""
    relu = plotted_frame(**{"activation.kind": "relu"}, **options)
    silu = plotted_frame(
        bits=lambda *at: saturating(2 * at[0], *at[1:]), **{"activation.kind": "silu"}, **options
    )
    silu["run_id"] = [f"a{run_id[1:]}" for run_id in silu["run_id"]]
    frame = pd.concat([relu, silu], ignore_index=True)
    frame.attrs = {"axes": ["model.width", "data.num_samples", "activation", "seed"], "studies": ["two"]}
    return frame


def bar_ends(ax: Axes) -> list[np.ndarray]:
    """Ends of the bars of each ``errorbar``, [bars, 2] each: along the axis that they span, lower end first."""
    drawn = [bars for bars in ax.containers if isinstance(bars, ErrorbarContainer)]
    return [np.array(bars.lines[2][0].get_segments())[:, :, 0 if bars.has_xerr else 1] for bars in drawn]


def band_ends(ax: Axes) -> list[np.ndarray]:
    """Lower and upper ends of each band, [points, 2] each, from left to right."""
    bands = [band for band in ax.collections if isinstance(band, PolyCollection)]
    outlines = [pd.DataFrame(band.get_paths()[0].vertices, columns=["x", "y"]) for band in bands]
    return [outline.groupby("x")["y"].agg(["min", "max"]).to_numpy() for outline in outlines]
