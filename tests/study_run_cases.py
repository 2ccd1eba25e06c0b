"""Cells of milliseconds by seed, what became of them, and trainings that fail for some seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from compositions import composed_config

from memcap import study_run
from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.outcome import CellOutcome

SMALL = ("data.num_samples=8", "model.width=3", "budget.steps=20", "measure.points=3", "tracking=disabled")


def cells(folder: Path, seeds: range, *overrides: str) -> list[Cell]:
    found = []
    for seed in seeds:
        own = (f"seed={seed}",)
        config = composed_config(*SMALL, *overrides, *own)
        paths = dataclasses.replace(config.paths, outputs=str(folder / "outputs"))
        config = dataclasses.replace(config, paths=paths, study="s")
        found.append(Cell(config, run_id(config), own))
    return found


def statuses(outcomes: list[CellOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def break_seeds(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: Exception) -> list[list[int]]:
    """Training a population with one of these seeds raises; returns the seeds of every population that starts."""
    started: list[list[int]] = []
    real = study_run.train_population

    def train(configs: Any, engine: Any, listener: Any, **more: Any) -> None:
        started.append([config.seed for config in configs])
        if broken & set(started[-1]):
            raise error
        real(configs, engine, listener, **more)

    monkeypatch.setattr(study_run, "train_population", train)
    return started
