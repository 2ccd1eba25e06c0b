"""The exact optimum of linear runs, where ``memcap.oracle`` has found it: columns of runs, and curves beside theirs."""

from __future__ import annotations

import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_of
from memcap.compare.optimum_columns import BITS, SAMPLES

OF_METRIC = {"memory/bits": BITS, "memory/bits_clamped": BITS, "memory/memorized_samples": SAMPLES}


def optimum_curves(comparison: Comparison) -> pd.DataFrame:
    """``configuration`` (row of ``comparison.capacity``), ``num_samples`` and ``mean`` over seeds of the exact optimum.

    In the comparison's unit: bits, or samples that the optimum classifies correctly. Seeds count once, however many
    nuisance values they were trained with. Empty where the oracle was not asked, or for any other metric.
    """
    name = OF_METRIC.get(comparison.quantity.metric)
    frame = comparison.frame
    if name is None or name not in frame or frame[name].isna().all():
        return pd.DataFrame({"configuration": [], "num_samples": [], "mean": []})
    table = pd.DataFrame(
        {
            "configuration": configuration_of(frame, comparison),
            "num_samples": frame[SIZE],
            REPLICATE: frame[REPLICATE],
            "mean": frame[name],
        }
    ).dropna()
    table = table[table["configuration"] >= 0].drop_duplicates(["configuration", "num_samples", REPLICATE])
    return table.groupby(["configuration", "num_samples"], as_index=False)["mean"].mean()
