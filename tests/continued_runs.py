"""Trainings that are stopped after a row and go on after another, in this process, mirrored to W&B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from wandb_cases import train_here
from wandb_server import KEY, Server

from memcap.measures.observation import Row
from memcap.pack_recorder import PackRecorder

OFFLINE = "tracking.mode=offline"
ONLINE = "tracking.mode=online"
CELL = ("study=s", "measure.points=20", "hardware.engine=batched")  # nothing to compile in an empty home
STEPS = [0, 1, 2, 3, 4, 5]  # of the rows before the stop
CHECKPOINT = 4  # rows


def online(server: Server, folder: Path) -> dict[str, str]:
    """The environment in which this server is used, and gets rows each second, not every 15 seconds."""
    return {
        "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "NETRC": str(folder / "netrc"),
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
    }  # fmt: skip


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C comes after the row of this step."""
    on_row = PackRecorder.on_row

    def stopped(self: PackRecorder, member: int, row: Row) -> None:
        on_row(self, member, row)
        if row["train/step"] >= step:
            raise KeyboardInterrupt

    monkeypatch.setattr(PackRecorder, "on_row", stopped)


def go_on(monkeypatch: pytest.MonkeyPatch, num_rows: int) -> None:
    """The next training continues from a checkpoint with so many rows of the history."""
    start, on_row = PackRecorder.start, PackRecorder.on_row

    def continued(self: PackRecorder) -> None:
        for cell, folder in zip(self.pack, self.folders, strict=True):
            self.rows_before[cell.run_id] = folder.read_history()[:num_rows]
        start(self)

    def after_the_checkpoint(self: PackRecorder, member: int, row: Row) -> None:
        before = self.rows_before[self.pack[member].run_id]
        if row["train/step"] <= before[-1]["train/step"]:
            self.folders[member].append(row)  # a continued history.jsonl has it already
        else:
            on_row(self, member, row)

    monkeypatch.setattr(PackRecorder, "start", continued)
    monkeypatch.setattr(PackRecorder, "on_row", after_the_checkpoint)


def train_to_stop(folder: Path, *arguments: str, step: int = STEPS[-1], **environment: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, step)
        assert train_here(patch, folder, *CELL, *arguments, **environment) == 130


def train_on(
    folder: Path, *arguments: str, stop: int | None = None, num_rows: int = CHECKPOINT, **environment: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if stop is not None:
            stop_at(patch, stop)
        go_on(patch, num_rows)
        expected = 0 if stop is None else 130
        assert train_here(patch, folder, *CELL, *arguments, **environment) == expected


def run_folder(folder: Path) -> Path:
    (path,) = folder.glob("outputs/runs/*/*/history.jsonl")
    return path.parent


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (run_folder(folder) / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def steps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["train/step"] for row in rows]


def without_own(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the client's own keys."""
    return [{key: value for key, value in row.items() if not key.startswith("_")} for row in rows]


def result(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run_folder(folder) / "result.json").read_text(encoding="utf-8"))
    return record
