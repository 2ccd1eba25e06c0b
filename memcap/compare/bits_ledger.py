"""Every bits figure of a configuration under each convention, so that numbers of different papers can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import find_axes
from memcap.compare.capacity import PARAMETER_COUNTS, configurations
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import best_restarts
from memcap.records.means import mean_and_half_width

FIGURES = {
    "unclamped": "memory/bits",
    "clamped": "memory/bits_clamped",
    "rounded to bf16": "rounding/bf16/bits",
    "rounded to int8": "rounding/int8/bits",
    "rounded to int4": "rounding/int4/bits",
}


def bits_ledger(
    frame: pd.DataFrame,
    *,
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
    selection_seeds: Iterable[int] | None = None,
) -> pd.DataFrame:
    """A row for each configuration and convention, all of the same runs: those that ``capacity_bits`` averages.

    ``convention``: unclamped, N log2 V − Σ code lengths; clamped, each sample's saving at least 0 (Morris et al. 2025,
    arXiv 2505.24832); rounded to a format, where that was measured. ``bits`` with ``ci_low``, ``ci_high`` (Student's t,
    95 %), and ``bits_per_<count>`` for each count of parameters. A diverged run counts 0 everywhere.
    """
    frame = best_restarts(frame)
    axes = find_axes(frame, x=x, hue=hue, facet=facet, nuisance=nuisance)
    selection = None if selection_seeds is None else set(selection_seeds)
    rows: list[dict[str, Any]] = []
    for cells in configurations(frame, axes, Quantity.of("bits", frame)):
        runs = cells.fresh_rows(cells.measured(selection))
        if len(runs):
            where = {key: runs[key].iloc[0] for key in axes.compared}
            rows += [{**where, **figure} for figure in _figures(runs)]
    return pd.DataFrame(rows)


def _figures(runs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    diverged = (runs["status"] == "diverged").to_numpy()
    for convention, metric in FIGURES.items():
        if metric not in runs:
            continue
        recorded = runs[metric].to_numpy(dtype=float, na_value=np.nan)
        values = np.where(diverged, 0.0, recorded)
        values = values[~np.isnan(values)]
        if not len(values) or np.isnan(recorded).all():
            continue
        mean, half = mean_and_half_width(values.tolist())
        margin = np.nan if half is None else half
        per = {f"bits_per_{count}": mean / runs[count].iloc[0] for count in PARAMETER_COUNTS if count in runs}
        yield {
            "convention": convention, "num_seeds": len(values), "bits": mean,
            "ci_low": mean - margin, "ci_high": mean + margin, **per,
        }  # fmt: skip
