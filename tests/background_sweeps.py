"""Sweeps that workers of this machine train while a test looks at them, as a user starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from memcap.config.cell import Cell
from memcap.records import atomic
from memcap.records.frozen_cells import add_frozen
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import failure_record, result_record
from memcap.records.study_folder import StudyFolder, index_row
from memcap.submission.folder import RUNNING, SubmissionFolder
from memcap.submission.processes import workers_here

BACKGROUND = (
    "hydra/launcher=local",
    "launcher.workers=1",
    "launcher.cpus=1",
    "study=s",
    "tracking=disabled",
    "measure.sharpness=false",
    "measure.points=4",
    "data.num_samples=20",
)


def know_costs(outputs: Path) -> None:
    """What a step takes is known already: each submission would measure it for seconds."""
    outputs.mkdir(parents=True, exist_ok=True)
    row = {"family": "cpu/float32/fused", "operations": 1e5, "seconds": 3e-5, "time": 0.0}
    atomic.append_line(outputs / "costs.jsonl", row)


def start_sweep(folder: Path, *words: str) -> None:
    """``memcap.train -m`` in this folder, whose workers go on after it has come back."""
    know_costs(folder / "outputs")
    command = [sys.executable, "-m", "memcap.train", "-m", *BACKGROUND, "launcher.wait=false", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


def command(module: str, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``python -m memcap.MODULE`` in this folder."""
    return subprocess.run(
        [sys.executable, "-m", f"memcap.{module}", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **more},
        check=False,
    )


def until(happened: Callable[[], Any], seconds: float = 120) -> Any:
    """What it returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def workers_of(folder: Path, number: int = 1) -> list[int]:
    """Process ids of the workers and their controllers, of one submission of the study s."""
    logs = folder / "outputs" / "studies" / "s" / "submissions" / f"{number:04d}" / "submitit"
    found = workers_here().get(logs.resolve())
    return [] if found is None else [*found.controllers, *found.workers]


def kill_workers(folder: Path, number: int = 1) -> None:
    """As the system does it when memory runs out."""
    signal_workers(folder, number, signal.SIGKILL)
    until(lambda: not workers_of(folder, number))


def kill_workers_in_a_run(folder: Path, number: int = 1) -> None:
    """The same, but never between two runs, where no task would have died."""
    submission = SubmissionFolder.all_of(folder / "outputs" / "studies" / "s")[number - 1]

    def in_a_run() -> bool:
        assert workers_of(folder, number), "the sweep ended before it could be killed"
        signal_workers(folder, number, signal.SIGSTOP)
        done = {path.parent.name for path in results(folder)}
        return any(
            (submission.read_state(place) or {}).get("state") == RUNNING and done.isdisjoint(task["runs"])
            for place, task in enumerate(submission.read_tasks())
        )

    try:
        while not in_a_run():
            signal_workers(folder, number, signal.SIGCONT)
            time.sleep(0.05)
    finally:
        kill_workers(folder, number)


def signal_workers(folder: Path, number: int, which: signal.Signals) -> None:
    for pid in workers_of(folder, number):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, which)


def results(folder: Path) -> list[Path]:
    """The results that are there."""
    return list(folder.glob("outputs/runs/*/*/result.json"))


# -- records without training ---------------------------------------------------------------------------


def list_study(outputs: Path, cells: list[Cell], name: str = "s") -> StudyFolder:
    """A study that lists these cells, as a sweep enters them."""
    study = StudyFolder(outputs, name)
    study.open(["seed"], [{"run_id": c.run_id, "overrides": list(c.overrides)} for c in cells], "python -m x")
    add_frozen(study.path / "cells.jsonl", cells)
    return study


def finish_run(study: StudyFolder, cell: Cell, status: str = "finished") -> None:
    """A run that has ended, in its folder and in the study's index."""
    folder, values = RunFolder(study.outputs, cell.run_id), cell.config.to_dict()
    folder.start(values)
    folder.append({"train/step": cell.config.budget.steps})
    result = result_record(
        run_id=cell.run_id,
        status=status,
        stop_reason="steps",
        steps=cell.config.budget.steps,
        attempts=1,
        config=values,
        summary={"memory/bits": 1.5},
        provenance={},
        studies=[study.name],
    )
    folder.finish(result)
    study.append_index(index_row(result, cell.overrides))


def fail_run(study: StudyFolder, cell: Cell, error: Exception, failures: int = 1) -> None:
    """A run that has failed so often."""
    folder = RunFolder(study.outputs, cell.run_id)
    attempts = folder.start(cell.config.to_dict())
    folder.fail(
        failure_record(
            run_id=cell.run_id,
            error=error,
            attempts=attempts,
            config=cell.config.to_dict(),
            failures=failures,
        )
    )


def submission(
    study: StudyFolder, tasks: list[list[Cell]], launcher: str, jobs: list[Mapping[str, Any]]
) -> SubmissionFolder:
    """A submission as one leaves it, of which nothing runs."""
    folder = SubmissionFolder.create(study.path)
    rows = [{"runs": [cell.run_id for cell in task], "core_seconds": 1.0} for task in tasks]
    (folder.path / "tasks").mkdir()
    atomic.write_json(folder.path / "tasks.json", {"schema": 1, "tasks": rows})
    folder.write_submission({"launcher": launcher, "options": {}, "jobs": jobs})
    return folder
