"""What is tried again of tasks that have ended without finishing their runs, and what is given up."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from memcap.config.cell import Cell
from memcap.records.folder_lock import FolderLock
from memcap.records.run_folder import RunFolder
from memcap.submission.cost import CostModel
from memcap.submission.folder import DONE, FAILED, REQUEUED, STOPPED
from memcap.submission.plan import PlannedTask
from memcap.submission.submit import Submitted, Submitter

MOST_ALONE: Final = 32  # runs that were trained when a process died are tried again one by one, up to so many

NOT_ITS_FAULT: Final = (
    "PREEMPTED",
    "NODE_FAIL",
    "TIMEOUT",
    "BOOT_FAIL",
)  # what ended a task says nothing of its runs
MOST_ENDS: Final = 20


class Retries:
    """Counts how often the process of a run has died, over all submissions of one waiting command.

    A task that was stopped (a time limit, a preemption) has saved what it had and says nothing against its runs, so it
    is submitted again as it is. One that was cancelled is left alone: somebody wanted that.
    """

    def __init__(self, submitter: Submitter) -> None:
        self.submitter = submitter
        self.deaths: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()  # tasks that were ended from outside
        self.given_up: Counter[str] = Counter()
        self.cancelled = 0

    def tasks(
        self, submitted: Submitted, states: dict[int, dict[str, Any]], slurm_states: dict[int, str]
    ) -> list[PlannedTask]:
        """Tasks for the runs that are left; what cannot be tried again gets its outcome."""
        whole: list[PlannedTask] = []
        small: list[PlannedTask] = []
        for number, planned in enumerate(submitted.tasks):
            left = [cell for cell in planned.cells if self.submitter.ledger.is_open(cell)]
            state, scheduler = states.get(number, {}), slurm_states.get(number)
            said = state.get("state")
            if not left or said == DONE:
                continue
            if scheduler == "CANCELLED" or submitted.folder.cancelled:
                self.cancelled += len(left)
                continue
            if said == FAILED:
                if not state.get("counts", {}).get("failed"):  # else fail_fast has left them
                    self._give_up(left, str(state.get("error", "its task failed")))
            elif said in (STOPPED, REQUEUED) or scheduler in NOT_ITS_FAULT:
                whole += self._whole(planned, left)
            elif said is None and submitted.workers and states:
                whole += self._whole(
                    planned, left
                )  # the worker that would have taken it died of another task
            else:
                began = [cell for cell in left if self._began(submitted, cell)]
                how = _how_it_died(submitted, number, state, scheduler)
                again = self._count(began or left, how, recorded=bool(began))
                small += _small(again) if began else []
                rest = [cell for cell in left if cell not in began] if began else again
                whole += [_part(planned, rest)] if rest else []
        tasks = [*whole, *small]
        self._say(tasks)
        return tasks

    def _count(self, cells: list[Cell], how: str, recorded: bool) -> list[Cell]:
        """Those that may be tried once more. A run that was never begun is given up without a record of its own."""
        again = []
        for cell in cells:
            self.deaths[cell.run_id] += 1
            if self.deaths[cell.run_id] <= self.submitter.options.retries or (recorded and len(cells) > 1):
                again.append(cell)  # of several that were in training, nobody knows which was to blame
            elif recorded:
                self._fail(cell, how)
            else:
                self._give_up([cell], how)
        return again

    def _fail(self, cell: Cell, how: str) -> None:
        """Records the failure, unless another process has the run by now."""
        ledger = self.submitter.ledger
        lock = FolderLock(RunFolder(ledger.outputs, cell.run_id).path, ledger.owner)
        if lock.acquire():
            try:
                ledger.fail(cell, RuntimeError(how))
            finally:
                lock.release()

    def _whole(self, planned: PlannedTask, left: list[Cell]) -> list[PlannedTask]:
        """The same once more; not for ever, where a task is ended again and again."""
        ends = max(self.ends[cell.run_id] for cell in left) + 1
        self.ends.update(cell.run_id for cell in left)
        if ends <= MOST_ENDS:
            return [_part(planned, left)]
        self._give_up(left, f"its task was ended from outside {ends} times")
        return []

    def _give_up(self, cells: list[Cell], error: str) -> None:
        """The runs were not begun, so the same command begins them: nothing is written down."""
        for cell in cells:
            outcome = self.submitter.ledger.by_id[cell.run_id]
            outcome.status, outcome.error = "failed", error
        self.given_up[error] += len(cells)

    def _began(self, submitted: Submitted, cell: Cell) -> bool:
        """Whether this submission has begun to train the run."""
        folder = RunFolder(self.submitter.ledger.outputs, cell.run_id)
        return folder.path.exists() and folder.attempts() > submitted.attempts[cell.run_id]

    def _say(self, tasks: list[PlannedTask]) -> None:
        for error, number in self.given_up.items():
            print(f"memcap: not trained, runs: {number}: {error}", file=sys.stderr)
        self.given_up.clear()
        if tasks:
            runs = sum(len(task.cells) for task in tasks)
            print(
                f"memcap: tasks ended before their runs; runs that are tried again: {runs}", file=sys.stderr
            )


def log_of(logs: Path, state: dict[str, Any] | None) -> str:
    """The log of a task; the folder of all logs where it has not begun."""
    job = (state or {}).get("job")
    return str(logs / f"{job}_0_log.out") if job else str(logs)


def _part(planned: PlannedTask, cells: list[Cell]) -> PlannedTask:
    return PlannedTask(tuple(cells), planned.core_seconds * len(cells) / len(planned.cells))


def _small(suspects: list[Cell]) -> list[PlannedTask]:
    """A run that was in training when its process died may be why it died: smaller tasks, at last one for each."""
    size = max(1, -(-len(suspects) // MOST_ALONE))
    cuts = [tuple(suspects[start : start + size]) for start in range(0, len(suspects), size)]
    return [PlannedTask(cells, sum(CostModel().seconds(cell.config) for cell in cells)) for cells in cuts]


def _how_it_died(submitted: Submitted, task: int, state: dict[str, Any], scheduler: str | None) -> str:
    log = log_of(submitted.folder.logs, state)
    if not state:
        said = f" (Slurm says {scheduler})" if scheduler else ""
        return f"its task ended before it began{said}: are outputs and Python visible on the node? its log: {log}"
    said = f"Slurm says {scheduler}" if scheduler else "out of memory, or a crash"
    return f"the process that trained it died every time ({said}); its log: {log}"
