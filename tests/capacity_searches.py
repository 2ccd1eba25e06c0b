"""Searches of the capacity of networks that jam within a hundred samples, and what they have found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from memcap.records.run_folder import RunFolder

# Networks that jam within a hundred samples, in 0.01 s each.
SMALL = (
    *("data.input_dim=4", "data.num_classes=4", "budget.steps=300", "schedule=cosine", "tracking=disabled"),
    *("measure=light", "measure.points=2", "records.weights=none", "hardware.threads=1", "study=s"),
)
SEARCH = (
    *("hydra/sweeper=capacity", "search.seeds=4", "search.fresh_seeds=4", "search.tolerance=0.1"),
    *("search.learning_rates=[0.02,0.06]", *SMALL),
)
WIDTHS = "model.width=3,6"


def found(folder: Path) -> list[dict[str, Any]]:
    record = json.loads((folder / "outputs/studies/s/search.json").read_text())
    rows = record["configurations"]
    assert isinstance(rows, list)
    return rows


def results(folder: Path) -> dict[str, dict[str, Any]]:
    runs = [RunFolder(folder / "outputs", path.name) for path in folder.glob("outputs/runs/*/*")]
    return {run.run_id: run.read_result() or {} for run in runs}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "memcap.train", "-m", *arguments]
