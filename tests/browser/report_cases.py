"""Studies whose report is read in a browser."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

from compositions import composed_config

from memcap import cells as training
from memcap.config.cell import Cell

AXES = ["model.width", "data.num_samples", "optimizer.learning_rate", "seed"]


def train_small_study(outputs: Path) -> None:
    """3 widths × 4 N × 2 learning rates × 2 seeds, with every measure of ``measure=full``."""
    fixed = (
        "budget.steps=60",
        "measure.points=4",
        "tracking=disabled",
        f"paths.outputs={outputs}",
        "study=small",
    )
    cells = []
    for values in itertools.product((2, 4, 8), (15, 30, 60, 120), (0.03, 0.01), (0, 1)):
        texts = [f"{axis}={value}" for axis, value in zip(AXES, values, strict=True)]
        cells.append(Cell.from_values(composed_config(*fixed, *texts).to_dict(), tuple(texts)))
    training.train_cells(cells, AXES, "python -m memcap.train")


def multiply(outputs: Path, larger: Path, num_runs: int) -> None:
    """A study of so many runs: copies of the small one's records with ids, seeds and histories of their own."""
    source = outputs / "studies" / "small"
    study = json.loads((source / "study.json").read_text())
    cells = []
    for number, cell in zip(range(num_runs), itertools.cycle(study["cells"])):
        run_id = f"{number:012x}"
        old = outputs / "runs" / cell["run_id"][:2] / cell["run_id"]
        new = larger / "runs" / run_id[:2] / run_id
        new.mkdir(parents=True)
        result = json.loads((old / "result.json").read_text())
        result["run_id"] = run_id
        result["config"]["seed"] += 2 * (number // len(study["cells"]))
        (new / "result.json").write_text(json.dumps(result))
        shutil.copy(old / "history.jsonl", new)
        cells.append({**cell, "run_id": run_id})
    (larger / "studies" / "small").mkdir(parents=True)
    (larger / "studies" / "small" / "study.json").write_text(json.dumps({**study, "cells": cells}))
