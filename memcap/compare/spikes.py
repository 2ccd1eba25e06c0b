"""Spikes of the training loss: how much of what had been learned a rise took back, and in how many runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE
from memcap.compare.histories import STEP, load_histories
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import best_restarts
from memcap.errors import BadInput
from memcap.records.means import mean_and_half_width

LOSS = "train/loss_nats"
CLASSES = "data.num_classes"
SPIKE_SHARE = 0.1  # of log V: a rise that takes back so much is a spike


def largest_rises(histories: pd.DataFrame) -> pd.Series:
    """By run id, max_k (min(ℓ_k, ℓ_0) − min_{j≤k} ℓ_j) in nats over the points of a history, NaN for none.

    Above the initial loss ℓ_0 nothing is left to be taken back: first steps that raise the loss, before anything is
    learned, are no spike. One that comes and goes between two points is not seen, so this is a lower bound; more of
    ``measure.points`` see more. ``histories``: of ``load_histories``, with ``train/loss_nats``.
    """
    if LOSS not in histories:
        raise BadInput(f"spikes are rises of {LOSS}, which these histories lack")
    known = histories.dropna(subset=[LOSS]).sort_values(["run_id", STEP], kind="stable")
    by_run = known.groupby("run_id", sort=False)[LOSS]
    capped = np.minimum(known[LOSS], by_run.transform("first"))
    rises = (capped - by_run.cummin()).groupby(known["run_id"], sort=False).max()
    return rises.reindex(list(dict.fromkeys(histories["run_id"])))


def spikes(frame: pd.DataFrame, x: str, hue: Sequence[str] = ("optimizer.learning_rate",)) -> pd.DataFrame:
    """Bits and stability for each value of ``x`` and ``hue`` of a table of runs (of ``load_frame``).

    Columns: the keys; ``num_seeds``; ``bits``, ``bits_low``, ``bits_high`` (mean over seeds, a diverged run counting 0,
    and its 95 % interval by Student's t); ``rise_nats``, the median over seeds of ``largest_rises``;
    ``spiking_share``, of runs that diverged or that a rise took back 0.1 log V at least; ``diverged_share``. Reads all
    histories, 1.5 ms each. Of restarts the best counts. Raises BadInput where a seed has several runs at equal keys.
    """
    frame = best_restarts(frame)
    keys = [x, *hue]
    for key in [*keys, CLASSES]:
        if key not in frame:
            raise BadInput(f"{key} is no key of these runs' configuration")
    if (twice := frame.duplicated([*keys, REPLICATE])).any():
        seed = frame.loc[twice, REPLICATE].iloc[0]
        raise BadInput(
            f"seed {seed} has several runs at equal {' and '.join(keys)}; name what else differs as hue, or take one N"
        )
    rises = largest_rises(load_histories(frame, [LOSS], at_most=len(frame)))
    table = frame[keys].copy()
    table["bits"] = Quantity.of("bits", frame).values(frame)
    table["rise"] = frame["run_id"].map(rises).to_numpy(dtype=float)
    table["diverged"] = (frame["status"] == "diverged").to_numpy()
    least = SPIKE_SHARE * np.log(frame[CLASSES].to_numpy(dtype=float))
    table["spiking"] = table["diverged"] | (table["rise"] >= least)
    rows = []
    for values, runs in table.groupby(keys, dropna=False):
        mean, half = mean_and_half_width(runs["bits"].tolist())
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "num_seeds": len(runs),
                "bits": mean,
                "bits_low": np.nan if half is None else mean - half,
                "bits_high": np.nan if half is None else mean + half,
                "rise_nats": runs["rise"].median(),
                "spiking_share": runs["spiking"].mean(),
                "diverged_share": runs["diverged"].mean(),
            }
        )
    return pd.DataFrame(rows)
