"""Units of metrics, which their names tell, and numbers as text."""

from __future__ import annotations

import math
from typing import Any

# The first ending that fits tells the unit.
_UNITS = (
    ("bits_per_parameter", "bits per parameter"),
    ("loss_nats", "nats per sample"),
    ("_nats", "nats"),
    ("_bits", "bits"),
    ("/bits", "bits"),
    ("bits_best", "bits"),
    ("bits_clamped", "bits"),
    ("bits_standard_error", "bits"),
    ("_samples", "samples"),
    ("accuracy", "of 1"),
    ("/step", "steps"),
    ("exposures", "times each sample"),
    ("_time_s", "s"),
)


def unit(metric: str) -> str:
    """The unit of a metric by its name, ``memory/bits`` in bits; empty where it has none."""
    return next((name for ending, name in _UNITS if metric.endswith(ending)), "")


def number_text(value: Any) -> str:
    """A value as people read it: whole numbers with commas, others to five digits, null for None."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e15:
            return f"{int(value):,}"
        return f"{value:.5g}" if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(number_text, value)) + "]"
    return str(value)
