"""A metric of the runs' ends against N: geometric or arithmetic means over seeds, with bands."""

from __future__ import annotations

import numpy as np
import pandas as pd

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.curves import bootstrap_bands
from memcap.compare.matching import configuration_at_best_nuisance


def over_samples(
    comparison: Comparison, metric: str, *, bands: bool = True, geometric: bool = True
) -> pd.DataFrame:
    """A row for each configuration and N: ``configuration`` (row of ``capacity``), ``num_samples``, ``center``,
    ``low``, ``high``, ``num_runs``.

    exp(mean over seeds of log metric), with the 95 % bootstrap interval of that mean as ``memcap.curves`` makes it: NaN
    for one seed, and without ``bands``, which take most of the time. Runs at their configuration's best nuisance values
    that did not diverge; values ≤ 0 are left out. Not ``geometric``: the arithmetic mean, of all finite values.
    """
    frame = comparison.frame
    value = frame[metric].to_numpy(dtype=float, na_value=np.nan)
    configuration = configuration_at_best_nuisance(comparison)
    usable = np.isfinite(value) & ((value > 0) | (not geometric)) & (configuration >= 0)
    usable &= (frame["status"] != "diverged").to_numpy()
    configuration, size = configuration[usable], frame[SIZE].to_numpy(dtype=float, na_value=np.nan)[usable]
    order = np.lexsort((size, configuration))
    configuration, size = configuration[order], size[order]
    into, back = (np.log, np.exp) if geometric else (np.asarray, np.asarray)
    value = into(value[usable])[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(configuration) != 0) | (np.diff(size) != 0)][: len(order)])
    groups = np.split(value, starts[1:]) if len(starts) else []
    low, high = bootstrap_bands(groups) if bands else np.full((2, len(groups)), np.nan)
    return pd.DataFrame({
        "configuration": configuration[starts], "num_samples": size[starts],
        "center": back([group.mean() for group in groups]), "low": back(low), "high": back(high),
        "num_runs": [len(group) for group in groups],
    })  # fmt: skip
