"""A small sweep to be measured when it is finished, and its records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL = ("data.num_samples=20", "budget.steps=60", "measure.points=4", "model.width=4", "tracking=disabled")
Command = Callable[..., int]
OUTPUTS = Path("outputs")


def results() -> dict[str, dict[str, Any]]:
    found = (json.loads(path.read_text()) for path in sorted(OUTPUTS.glob("runs/*/*/result.json")))
    return {result["run_id"]: result for result in found}
