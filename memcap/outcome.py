"""What became of a cell."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from memcap.config.cell import Cell


@dataclasses.dataclass
class CellOutcome:
    """What became of a cell: finished, diverged, skipped (it was finished before), failed or interrupted."""

    cell: Cell
    status: str = "interrupted"
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def value(self) -> float | None:
        """What a sweeper maximizes: bits (0 for a diverged run); without bits, minus the loss."""
        bits = self.summary.get("memory/bits")
        if bits is not None and math.isfinite(bits):
            return float(bits)
        if "memory/bits" in self.summary:
            return 0.0
        losses = [v for name, v in self.summary.items() if name.startswith("train/loss") and v is not None]
        return -float(losses[0]) if losses else None
