"""Overrides of a small training, and the results that it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

SMALL = ["data.num_samples=20", "budget.steps=60", "measure.points=4", "model.width=4"]
Main = Callable[..., int]


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("outputs/runs/*/*/result.json"))]
