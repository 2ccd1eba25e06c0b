"""The folder of one submission, ``outputs/studies/<name>/submissions/<number>/``.

==================  ========================================================================================
``cells.jsonl``     its cells as they were checked, in the order of the tasks (``records/frozen_cells``)
``tasks.json``      the run ids of each task, with the core-seconds predicted for it
``submission.json`` who submitted what and when, options, and the scheduler's job ids
``tasks/<k>.json``  what the process of task k has said last: state, progress, where it runs, its error
``cancelled``       is there once memcap.cancel was called
``submitit/``       submitit's own files: pickles, batch scripts and the logs of the tasks
==================  ========================================================================================

Numbers are never used twice, so a job id that a new Slurm gives again meets no file of an old job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.frozen_cells import read_frozen, write_frozen
from memcap.records.run_folder import RunFolder
from memcap.submission.plan import PlannedTask

SCHEMA: Final = 1
RUNNING, DONE, FAILED, STOPPED, REQUEUED = "running", "done", "failed", "stopped", "requeued"


def _is_newer(cell: Cell, attempts: Mapping[str, int]) -> bool:
    """Whether the run has a result of an attempt that is not counted yet."""
    result = RunFolder(Path(cell.config.paths.outputs), cell.run_id).read_result() or {}
    return int(result.get("attempts", 0)) > attempts.get(cell.run_id, 0)


class SubmissionFolder:
    """Reads and writes one submission."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, study: Path) -> SubmissionFolder:
        """A new one, with the next free number; two that are made at once get two numbers."""
        parent = study / "submissions"
        parent.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.name) for path in parent.iterdir() if path.name.isdigit()), default=0)
        while True:
            try:
                (parent / f"{number:04d}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return cls(parent / f"{number:04d}")

    @classmethod
    def all_of(cls, study: Path) -> list[SubmissionFolder]:
        """Those of a study that were submitted, the oldest first."""
        found = sorted(path.parent for path in study.glob("submissions/*/submission.json"))
        return [cls(path) for path in found]

    @property
    def number(self) -> int:
        return int(self.path.name)

    @property
    def logs(self) -> Path:
        """submitit's folder."""
        return self.path / "submitit"

    def write_plan(self, tasks: Sequence[PlannedTask], attempts: Mapping[str, int]) -> None:
        """The cells and their tasks, before anything is submitted.

        ``attempts`` of the results that are there already, by run id: a task that starts again knows by them what it
        has finished itself, also of runs that it was forced to train.
        """
        write_frozen(self.path / "cells.jsonl", [cell for task in tasks for cell in task.cells])
        rows = [
            {
                "runs": [cell.run_id for cell in task.cells],
                "core_seconds": task.core_seconds,
                "attempts": {c.run_id: attempts[c.run_id] for c in task.cells if attempts.get(c.run_id)},
            }
            for task in tasks
        ]
        atomic.write_text(self.path / "tasks.json", atomic.strict_json({"schema": SCHEMA, "tasks": rows}))
        (self.path / "tasks").mkdir(exist_ok=True)

    def read_tasks(self) -> list[dict[str, Any]]:
        """``runs`` (ids) and ``core_seconds`` of each task."""
        plan = atomic.read_json(self.path / "tasks.json")
        if not isinstance(plan, dict) or not isinstance(plan.get("tasks"), list):
            raise BadInput(f"{self.path}/tasks.json is missing or torn; submit the sweep again")
        return list(plan["tasks"])

    def read_cells(self, task: int) -> list[Cell]:
        """The cells of one task, as they were submitted, without those that it was forced to train and has trained."""
        planned = self.read_tasks()[task]
        cells = read_frozen(self.path / "cells.jsonl", planned["runs"])
        return [cell for cell in cells if not (cell.config.force and _is_newer(cell, planned["attempts"]))]

    def write_submission(self, record: dict[str, Any]) -> None:
        """Written last: a submission without it was not submitted."""
        record = {
            "schema": SCHEMA,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **record,
        }
        atomic.write_json(self.path / "submission.json", record)

    def read_submission(self) -> dict[str, Any]:
        """Its record; empty where it is torn."""
        record = atomic.read_json(self.path / "submission.json")
        return record if isinstance(record, dict) else {}

    def cancel(self) -> None:
        """Nothing of it is begun or tried again from now on."""
        (self.path / "cancelled").touch()

    @property
    def cancelled(self) -> bool:
        return (self.path / "cancelled").exists()

    # -- what tasks say -------------------------------------------------------------------------------

    def write_state(self, task: int, state: dict[str, Any]) -> None:
        """What the process of this task says now; not synced, since it says it again in some seconds."""
        atomic.write_json(self.path / "tasks" / f"{task}.json", state, survives="kill")

    def read_state(self, task: int) -> dict[str, Any] | None:
        """What the process of this task has said last; None before it has begun."""
        state = atomic.read_json(self.path / "tasks" / f"{task}.json")
        return state if isinstance(state, dict) else None

    def claim(self, task: int) -> bool:
        """Takes a task for this process, where workers share one list; False if another one has it."""
        try:
            with open(self.path / "tasks" / f"{task}.claim", "x"):
                return True
        except FileExistsError:
            return False
