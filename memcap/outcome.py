"""What became of a cell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from memcap.config.cell import Cell


@dataclasses.dataclass
class CellOutcome:
    """What became of a cell: finished, diverged, skipped (it has a record already), failed or interrupted.

    ``diverged`` says it of a skipped one too. Bits tell nothing: a run may diverge with a loss that is finite.
    """

    cell: Cell
    status: str = "interrupted"
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None
    diverged: bool = False

    def take(self, result: Mapping[str, Any], status: str | None = None) -> None:
        """What the run's ``result.json`` says; ``status`` in place of the recorded one."""
        self.status, self.summary = status or result["status"], result["summary"]
        self.diverged = result["status"] == "diverged"

    @property
    def value(self) -> float | None:
        """What a sweeper maximizes: bits (0 for a diverged run); without bits, minus the loss."""
        bits = self.summary.get("memory/bits")
        if "memory/bits" in self.summary:
            return 0.0 if self.diverged or bits is None or not math.isfinite(bits) else float(bits)
        losses = [v for name, v in self.summary.items() if name.startswith("train/loss") and v is not None]
        return -float(losses[0]) if losses else None
