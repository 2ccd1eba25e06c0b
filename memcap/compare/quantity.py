"""What capacity is counted in: bits, memorized samples, or another metric of a run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from memcap.compare.axes import SIZE
from memcap.errors import BadInput, nearest
from memcap.study.units import unit

SHORT_NAMES = {
    "bits": "memory/bits",
    "bits_clamped": "memory/bits_clamped",
    "samples": "memory/memorized_samples",
}


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A metric of a run's end and its unit, the last word of columns like ``capacity_bits``."""

    metric: str
    unit: str

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame) -> Quantity:
        """``bits``, ``bits_clamped``, ``samples``, or a metric by its name; BadInput for one that no run has."""
        metric = SHORT_NAMES.get(name, name)
        # Where all runs have diverged it is a column without a value.
        if metric not in frame or not (
            frame[metric].isna().all() or pd.api.types.is_numeric_dtype(frame[metric])
        ):
            known = [*SHORT_NAMES, *(str(c) for c in frame.columns if "/" in str(c))]
            raise BadInput(
                f"y={name}: these runs have no number of that name{nearest(name, known)}; y is bits, bits_clamped,"
                " samples or a metric of docs/MEASURES.md, and bits need labels and a finite N"
            )
        word = unit(metric)
        return cls(metric, word if word in ("bits", "samples") else "value")

    def values(self, frame: pd.DataFrame) -> np.ndarray:
        """[rows]; a diverged run has 0, a run without the metric NaN."""
        diverged = (frame["status"] == "diverged").to_numpy()
        values = np.where(diverged, 0.0, frame[self.metric].to_numpy(dtype=float, na_value=np.nan))
        return np.where(frame[SIZE].notna().to_numpy(), values, np.nan)

    def diagonal(self, frame: pd.DataFrame) -> np.ndarray:
        """What it would be if every sample were memorized, [rows]: N · baseline, or N; NaN where that is unknown.

        The baseline is what the record itself says: bits + N ℓ / ln 2.
        """
        samples = frame[SIZE].to_numpy(dtype=float, na_value=np.nan)
        if self.unit == "samples":
            return samples
        if self.unit != "bits" or "memory/bits" not in frame or "train/loss_nats" not in frame:
            return np.full(len(frame), np.nan)
        bits = frame["memory/bits"].to_numpy(dtype=float, na_value=np.nan)
        loss = frame["train/loss_nats"].to_numpy(dtype=float, na_value=np.nan)
        return np.asarray(bits + samples * loss / np.log(2))
