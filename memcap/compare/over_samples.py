"""A metric of the runs' ends against N: geometric means over seeds, with bands."""

from __future__ import annotations

import numpy as np
import pandas as pd

from memcap.compare.axes import SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.curves import bootstrap_bands
from memcap.compare.matching import configuration_at_best_nuisance


def over_samples(comparison: Comparison, metric: str, *, bands: bool = True) -> pd.DataFrame:
    """A row for each configuration and N: ``configuration`` (row of ``capacity``), ``num_samples``, ``center``,
    ``low``, ``high``, ``num_runs``.

    exp(mean over seeds of log metric), with the 95 % bootstrap interval of that mean as ``memcap.curves`` makes it: NaN
    for one seed, and without ``bands``, which take most of the time. Runs at their configuration's best nuisance values
    that did not diverge; values ≤ 0 are left out.
    """
    frame = comparison.frame
    value = frame[metric].to_numpy(dtype=float, na_value=np.nan)
    configuration = configuration_at_best_nuisance(comparison)
    usable = np.isfinite(value) & (value > 0) & (configuration >= 0)
    usable &= (frame["status"] != "diverged").to_numpy()
    configuration, size = configuration[usable], frame[SIZE].to_numpy(dtype=float, na_value=np.nan)[usable]
    order = np.lexsort((size, configuration))
    configuration, size, log = configuration[order], size[order], np.log(value[usable])[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(configuration) != 0) | (np.diff(size) != 0)][: len(order)])
    logs = np.split(log, starts[1:]) if len(starts) else []
    low, high = bootstrap_bands(logs) if bands else np.full((2, len(logs)), np.nan)
    return pd.DataFrame({
        "configuration": configuration[starts], "num_samples": size[starts],
        "center": np.exp([group.mean() for group in logs]), "low": np.exp(low), "high": np.exp(high),
        "num_runs": [len(group) for group in logs],
    })  # fmt: skip
