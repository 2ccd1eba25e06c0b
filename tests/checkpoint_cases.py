"""Sweeps that are stopped at a chosen step, and what they leave."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from compositions import composed_config

from memcap import training
from memcap.cells import train_cells
from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.errors import Interrupted
from memcap.interruption import Signals
from memcap.outcome import CellOutcome
from memcap.pack_recorder import PackRecorder
from memcap.records.run_folder import RunFolder
from memcap.training import Training

SMALL = ("data.num_samples=8", "model.width=3", "budget.steps=60", "measure.points=6", "tracking=disabled")
MEMBERS = (("seed=0",), ("seed=1", "data.num_samples=9"), ("seed=2", "data.num_samples=11"))


def cells(folder: Path, *overrides: str, members: tuple[tuple[str, ...], ...] = MEMBERS) -> list[Cell]:
    """The cells of a sweep whose runs differ in seed and N, and so train as one population."""
    found = []
    for own in members:
        config = composed_config(*SMALL, *overrides, *own)
        paths = dataclasses.replace(config.paths, outputs=str(folder / "outputs"))
        config = dataclasses.replace(config, paths=paths, study="s")
        found.append(Cell(config, run_id(config), own))
    return found


def train_until(step: int, sweep: list[Cell], monkeypatch: pytest.MonkeyPatch) -> list[CellOutcome] | None:
    """Trains the sweep, and stops it as SIGTERM does at this step; None if it was stopped."""
    real = PackRecorder.at_rest

    def at_rest(recorder: PackRecorder, now: Training, signals: Signals) -> None:
        signals.defer()
        if now.population.step >= step and not signals.wants_stop:
            signals.ask_to_stop(Interrupted("SIGTERM"))
        real(recorder, now, signals)

    with monkeypatch.context() as patch:
        patch.setattr(PackRecorder, "at_rest", at_rest)
        patch.setattr(training, "LOOK_UP_S", 0.0)  # a look at every step
        try:
            return train_cells(sweep)
        except Interrupted:
            return None


def records(sweep: list[Cell]) -> dict[str, Any]:
    """All that the runs have left but what has to differ: attempts and provenance. Text, so that NaN equals NaN."""
    found: dict[str, Any] = {}
    for cell in sweep:
        folder = RunFolder(Path(cell.config.paths.outputs), cell.run_id)
        result = folder.read_result()
        assert result is not None
        arrays = {
            name: {key: (array.dtype.str, array.tobytes()) for key, array in folder.read_arrays(name).items()}
            for name in ("weights", "samples")
            if folder.has_arrays(name)
        }
        kept = {name: result[name] for name in ("status", "stop_reason", "steps", "summary")}
        found[cell.run_id] = {"result": repr(kept), "rows": repr(folder.read_history()), "arrays": arrays}
    return found


def provenance(cell: Cell) -> dict[str, Any]:
    result = RunFolder(Path(cell.config.paths.outputs), cell.run_id).read_result()
    assert result is not None
    return {**result["provenance"], "attempts": result["attempts"]}


def steps(cell: Cell) -> int:
    result = RunFolder(Path(cell.config.paths.outputs), cell.run_id).read_result()
    assert result is not None
    return int(result["steps"])


def checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "outputs" / "checkpoints").glob("*"))
