"""The optimizer's threshold of stability beside the eigenvalue of the Hessian that it bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_at_best_nuisance

RAW, PRECONDITIONED, THRESHOLD = "sharpness/top_eigenvalue", "sharpness/preconditioned", "sharpness/threshold"


class Thresholds(NamedTuple):
    """The smallest and the largest threshold of runs whose eigenvalues are drawn together."""

    low: float
    high: float

    @property
    def common(self) -> float | None:
        """The one threshold of all runs; None where their learning rates make it differ."""
        return self.low if self.high - self.low <= 1e-6 * self.low else None


def stability_thresholds(
    comparison: Comparison, metric: str, configurations: Iterable[int] | None = None
) -> Thresholds | None:
    """The thresholds for ``metric`` (raw or preconditioned) of the runs that figures draw; None where there are none.

    The threshold bounds the raw eigenvalue for gradient descent (Cohen et al. 2021, arXiv 2103.00065), the
    preconditioned one for Adam (Cohen et al. 2022, arXiv 2207.14484), so raw eigenvalues of which some are Adam's have
    none. configurations: rows of ``comparison.capacity``; None: all. Runs count at the best nuisance values of their
    configuration; one that ended at learning rate 0 has no threshold.
    """
    frame = comparison.frame
    if THRESHOLD not in frame or metric not in (RAW, PRECONDITIONED) or metric not in frame:
        return None
    configuration_R = configuration_at_best_nuisance(comparison)
    drawn_R = (configuration_R >= 0) & frame[metric].notna().to_numpy()
    if configurations is not None:
        drawn_R &= np.isin(configuration_R, list(configurations))
    runs = frame[drawn_R & (frame["status"] != "diverged").to_numpy()]
    preconditions = PRECONDITIONED in runs and runs[PRECONDITIONED].notna().any()
    adaptive = "optimizer.kind" in runs and runs["optimizer.kind"].astype(str).str.startswith("adam").any()
    if metric == RAW and (preconditions or adaptive):
        return None
    values = runs[THRESHOLD].to_numpy(dtype=float, na_value=np.nan)
    values = values[np.isfinite(values) & (values > 0)]
    return Thresholds(float(values.min()), float(values.max())) if len(values) else None
