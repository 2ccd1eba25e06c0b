"""Tables of runs with known answers, as ``load_frame`` would give them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

BITS_PER_LABEL = np.log2(10)


def synthetic_frame(
    *,
    widths: Sequence[int] = (8,),
    sizes: Sequence[int] = (50, 100, 150, 200, 250),
    seeds: Sequence[int] = range(4),
    rates: Sequence[float] = (0.01,),
    bits: Callable[..., float],
    sharpness: Callable[..., float] | None = None,
    status: Callable[..., str] | None = None,
    **fixed: Any,
) -> pd.DataFrame:
    """A row for each combination; ``bits(width, size, seed, rate)`` and kin say what was measured."""
    rows = []
    for width, size, rate, seed in itertools.product(widths, sizes, rates, seeds):
        value = bits(width, size, seed, rate)
        rows.append({
            "run_id": f"{len(rows):012x}", "study": "synthetic", "seed": seed,
            "status": "finished" if status is None else status(width, size, seed, rate),
            "data.kind": "random_labels", "data.num_samples": size, "data.num_classes": 10,
            "model.kind": "mlp", "model.width": width, "optimizer.learning_rate": rate, "budget.steps": 100,
            "memory/bits": value, "memory/bits_clamped": value + 1, "memory/memorized_samples": value / 4,
            "train/loss_nats": (BITS_PER_LABEL - value / size) * np.log(2),
            "rounding/int8/bits": 0.9 * value,
            "sharpness/top_eigenvalue": 1.0 if sharpness is None else sharpness(width, size, seed, rate),
            "num_parameters": 20 * width + 100, "num_parameters_without_head": 20 * width,
            "num_parameters_effective": 20 * width - 9, **fixed,
        })  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.attrs = {
        "axes": ["model.width", "data.num_samples", "optimizer.learning_rate", "seed"],
        "studies": [],
    }
    return frame
