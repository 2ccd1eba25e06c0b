"""What others have published of the presets' models, and what was measured here, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.matching import configuration_at_best_nuisance, row_keys
from memcap.compare.quantity import Quantity
from memcap.errors import BadInput, nearest
from memcap.records.means import mean_and_half_width

SAMPLES, BITS, SHARPNESS = "memory/memorized_samples", "memory/bits", "sharpness/top_eigenvalue"
PEAK = "peak over N"
DIMENSION, WIDTH = "data.input_dim", "model.width"
COLUMNS = ("metric", "what", "num_samples", "published")

# Liu 2026, "Memory 1" and "Memory 2" (KindXiaoming.github.io/blog/2026/memory-1/, memory-2/): one seed each, most of
# them read off figures, so good to some per cent. N is None where a number is a peak, or its N is not stated.
Row = tuple[Any, str, int | None, float]  # value of the key, what it is, N, the number
_LEAVES, _LAST = "all memorized up to about here", "at the last N"
_MEMORY_1: list[Row] = [
    *((d, _LEAVES, n, n) for d, n in ((10, 45), (20, 70), (30, 110), (40, 170))),
    *((d, PEAK, None, c) for d, c in ((10, 45), (20, 84), (30, 124), (40, 166))),
    *((d, _LAST, 400, c) for d, c in ((10, 83), (20, 103), (30, 130), (40, 148))),
]
_JAMMING = ((50, 0.001), (120, 0.02), (140, 0.11), (160, 0.15), (165, 0.29), (175, 0.33), (400, 0.24))
_NO_N = "N not stated"
PUBLISHED: dict[str, tuple[str, str, list[Row]]] = {
    "memory1/capacity": (SAMPLES, DIMENSION, _MEMORY_1),
    "memory1/jamming": (SHARPNESS, DIMENSION, [(40, "on the curve", n, value) for n, value in _JAMMING]),
    "memory2/width": (
        BITS, WIDTH, [(w, PEAK, None, c) for w, c in ((10, 664), (20, 1215), (30, 1740), (40, 2167))],
    ),
    "memory2/depth3": (
        BITS, WIDTH, [(w, "56 bits per neuron", None, 56.0 * w) for w in (10, 20, 30, 40)],
    ),
    "memory2/linear": (
        BITS,
        DIMENSION,
        [(d, PEAK, None, c) for d, c in ((10, 77), (20, 188), (30, 318), (40, 455), (50, 541))],
    ),
    "memory2/activations": (
        BITS,
        "activation.kind",
        [
            (kind, _NO_N, None, c)
            for kind, c in (("relu", 919), ("relu2", 1212), ("relu3", 1060), ("relu4", 855), ("silu", 1278))
        ],
    ),
    "memory2/sine": (
        BITS,
        "activation.frequency",
        [(f, _NO_N, None, c) for f, c in ((0.1, 658), (1.0, 1565), (3.0, 1493), (10.0, 1582), (100.0, 850))],
    ),
}  # fmt: skip


def published(preset: str) -> pd.DataFrame:
    """The published numbers of a preset (``memory2/width``): a row for each, with its key, metric, what it is, and N.

    Columns: the key that the preset sweeps, ``metric`` (``memory/bits``), ``what``, ``num_samples`` (NaN where the
    number is a peak over N, or N is not stated) and ``published``, in the metric's unit. Raises BadInput for a preset
    without any.
    """
    if preset not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise BadInput(f"no published numbers of {preset}{nearest(preset, PUBLISHED)}; known: {known}")
    metric, key, rows = PUBLISHED[preset]
    table = pd.DataFrame(rows, columns=[key, "what", "num_samples", "published"])
    table.insert(1, "metric", metric)
    return table.astype({"num_samples": float, "published": float})


def as_published(given: str | pd.DataFrame) -> pd.DataFrame:
    """A table of published numbers: of a preset by its name, or one of your own with the columns of ``published``."""
    table = published(given) if isinstance(given, str) else given
    if not isinstance(table, pd.DataFrame) or not set(COLUMNS) <= set(table.columns):
        raise BadInput(
            "published is a preset's name (memory2/width) or a table with compared keys and the columns"
            f" {', '.join(COLUMNS)}"
        )
    return table


def published_of(comparison: Comparison, given: str | pd.DataFrame, metric: str) -> pd.DataFrame:
    """The published numbers of a metric for the configurations of a comparison, with ``configuration`` (row of
    ``comparison.capacity``). One number is of all configurations that have its values."""
    table = as_published(given)
    table = table[table["metric"] == metric]
    keys = [key for key in table if key not in COLUMNS]
    fixed = {key: comparison.axes.fixed.get(key) for key in keys if key not in comparison.capacity}
    own = row_keys(comparison.capacity.assign(**fixed), keys)
    rows: list[dict[Any, Any]] = []
    for row, key in zip(table.to_dict("records"), row_keys(table, keys), strict=True):
        rows += [{"configuration": number, **row} for number, other in enumerate(own) if other == key]
    return pd.DataFrame(rows, columns=["configuration", *table.columns])


def beside_published(comparison: Comparison, given: str | pd.DataFrame) -> pd.DataFrame:
    """What was measured beside what was published: a row for each published number whose configuration was run.

    ``measured``: the mean over seeds at the published N; where that is a peak, or not stated, the mean of each seed's
    own maximum over the N that were run, biased upward as a published maximum of one seed is. A diverged run counts 0;
    of sharpness it is the geometric mean of runs that did not diverge. ``low``, ``high``: its 95 % interval (Student's
    t over seeds; NaN of one seed).
    ``given``: a preset's name, or a table with the columns of ``published``. NaN where nothing was run at that N.
    Raises BadInput where these runs have none of the metrics, or where ``given`` has no rows.
    """
    table, frame = as_published(given), comparison.frame
    parts = []
    for metric in dict.fromkeys(table["metric"]):
        rows = published_of(comparison, table, metric)
        values_R = Quantity.of(metric, frame).values(frame)
        configuration_R = configuration_at_best_nuisance(comparison)
        found = [
            _measured(
                frame[configuration_R == row["configuration"]],
                values_R[configuration_R == row["configuration"]],
                row["num_samples"],
                logarithmic=metric.startswith("sharpness/"),
            )
            for row in rows.to_dict("records")
        ]
        measured = pd.DataFrame(found, columns=["measured", "low", "high", "num_seeds"], index=rows.index)
        parts.append(rows.drop(columns=["configuration", "metric"]).join(measured))
    if not parts:
        raise BadInput("published has no rows; see memcap.published(PRESET) for what a preset has")
    return pd.concat(parts, ignore_index=True)


def _measured(
    runs: pd.DataFrame, values_R: np.ndarray, num_samples: float, *, logarithmic: bool
) -> tuple[float, float, float, int]:
    """Mean over seeds, its interval, and how many seeds there were."""
    values = list(_of_seeds(runs, values_R, num_samples))
    if logarithmic:
        values = [float(np.log(value)) for value in values if value > 0]
    if not values:
        return np.nan, np.nan, np.nan, 0
    mean, half = mean_and_half_width(values)
    ends = (mean, np.nan, np.nan) if half is None else (mean, mean - half, mean + half)
    mean, low, high = np.exp(ends) if logarithmic else ends
    return float(mean), float(low), float(high), len(values)


def _of_seeds(runs: pd.DataFrame, values_R: np.ndarray, num_samples: float) -> Iterator[float]:
    """One value for each seed: at this N, or the largest of all N."""
    usable_R = ~np.isnan(values_R)
    if not np.isnan(num_samples):
        usable_R &= (runs[SIZE] == num_samples).to_numpy()
    for seed in sorted(runs[REPLICATE].unique()):
        own = values_R[usable_R & (runs[REPLICATE] == seed).to_numpy()]
        if len(own):
            yield float(own.max())
