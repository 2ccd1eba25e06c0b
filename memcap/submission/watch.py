"""Waiting for a submission: its progress by runs, its dead tasks, their runs once more, and the closing table."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from memcap.config.cell import Cell
from memcap.errors import Interrupted
from memcap.records.closing import print_closing
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.submission import local, slurm
from memcap.submission.cost import CostModel
from memcap.submission.folder import DONE, FAILED
from memcap.submission.plan import PlannedTask
from memcap.submission.submit import Submitted, Submitter

LOOK_EVERY_S: Final = {"local": 0.3, "slurm": 1.0}
ASK_SLURM_EVERY_S: Final = 5.0
STOP_WAIT_S: Final = 60.0  # for local workers to save what they have
MOST_ALONE: Final = 32  # runs that were trained when a process died are tried again one by one, up to so many


@dataclasses.dataclass
class Watch:
    """What is known of the tasks of one submission."""

    submitted: Submitted
    states: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict)
    over: set[int] = dataclasses.field(default_factory=set)
    slurm_states: dict[int, str] = dataclasses.field(default_factory=dict)
    asked: float = 0.0

    def look(self) -> bool:
        """Reads what tasks have said; True once all of them are over."""
        folder = self.submitted.folder
        for task in range(len(self.submitted.tasks)):
            if task not in self.over and (state := folder.read_state(task)) is not None:
                self.states[task] = state
                if state.get("state") in (DONE, FAILED):
                    self.over.add(task)
        if self.submitted.workers:
            return all(worker.done() for worker in self.submitted.workers)
        self._ask_slurm()
        return len(self.over) == len(self.submitted.tasks)

    def _ask_slurm(self) -> None:
        """Tasks that have ended without a word are over as well."""
        if time.monotonic() - self.asked < ASK_SLURM_EVERY_S:
            return
        self.asked = time.monotonic()
        told = slurm.states([str(job["job_id"]) for job in self.submitted.jobs])
        for job in self.submitted.jobs:
            for place, task in enumerate(job["tasks"]):
                alone = told.get(str(job["job_id"])) if len(job["tasks"]) == 1 else None
                state = told.get(f"{job['job_id']}_{place}") or alone
                if state is not None:
                    self.slurm_states[task] = state
                    if state in slurm.OVER:
                        self.over.add(task)

    def dead(self) -> list[int]:
        """Tasks whose process ended without saying so."""
        said = {task for task, state in self.states.items() if state.get("state") in (DONE, FAILED)}
        return [task for task in range(len(self.submitted.tasks)) if task not in said]


def wait_for(submitter: Submitter, submitted: Submitted | None) -> None:
    """Waits until all runs of the study have ended, tries those of dead processes again, prints the table.

    Ctrl-C ends local workers, which save what they have; what Slurm has goes on there.
    """
    ledger, started = submitter.ledger, time.monotonic()
    skipped = Counter(o.status for o in ledger.outcomes if not ledger.is_open(o.cell))
    open_cells = [o.cell for o in ledger.outcomes if ledger.is_open(o.cell)]
    progress = Progress(sum(cell.config.budget.steps for cell in open_cells), len(ledger.by_id))
    ledger.progress = progress
    tries: Counter[str] = Counter()
    stopped: BaseException | None = None
    with progress:
        progress.tell(0, progress.total, skipped)
        try:
            while submitted is not None:
                watch = Watch(submitted)
                _until_over(watch, progress, skipped)
                refresh(submitter)
                skipped = Counter(o.status for o in ledger.outcomes if not ledger.is_open(o.cell))
                again = _to_try_again(submitter, watch, tries)
                submitted = submitter.submit(again) if again else None
        except (KeyboardInterrupt, Interrupted) as error:
            stopped = error
            assert submitted is not None
            if submitted.workers:
                _stop(submitted)
            refresh(submitter)
    _close(submitter, stopped, time.monotonic() - started)
    if stopped is not None:
        raise stopped


def refresh(submitter: Submitter) -> None:
    """Takes the outcomes from the records."""
    ledger = submitter.ledger
    for outcome in ledger.outcomes:
        if not ledger.is_open(outcome.cell):
            continue
        folder = RunFolder(ledger.outputs, outcome.cell.run_id)
        if (result := folder.read_result()) is not None:
            outcome.status, outcome.summary = result["status"], result["summary"]
        elif (failure := folder.read_failure()) is not None:
            outcome.status, outcome.error = "failed", failure["error"]


def _until_over(watch: Watch, progress: Progress, before: Counter[str]) -> None:
    total = progress.total
    every = LOOK_EVERY_S["local" if watch.submitted.workers else "slurm"]
    while True:
        over = watch.look()
        states = watch.states.values()
        counts = before + sum((Counter(state.get("counts", {})) for state in states), Counter())
        counts["skipped"] = before["skipped"]
        lost = sum(
            _planned(watch, task) - state["steps_total"]
            for task, state in watch.states.items()
            if "steps_total" in state
        )
        progress.tell(sum(state.get("steps_done", 0) for state in states), max(total - lost, 1), counts)
        if over:
            return
        time.sleep(every)


def _planned(watch: Watch, task: int) -> int:
    return sum(cell.config.budget.steps for cell in watch.submitted.tasks[task].cells)


def _to_try_again(submitter: Submitter, watch: Watch, tries: Counter[str]) -> list[PlannedTask]:
    """Tasks for the runs that dead processes have left; a run whose process has died too often has failed.

    A run that was in training when its process died may be why it died: those are tried again in small tasks.
    """
    ledger, options = submitter.ledger, submitter.options
    if watch.submitted.folder.cancelled:
        return []
    tasks: list[PlannedTask] = []
    suspects: list[Cell] = []
    for number in watch.dead():
        planned = watch.submitted.tasks[number]
        left = [cell for cell in planned.cells if ledger.is_open(cell)]
        in_training = [cell for cell in left if _began(submitter, watch, cell)]
        for cell in in_training:
            tries[cell.run_id] += 1
            if tries[cell.run_id] > options.retries:
                ledger.fail(cell, RuntimeError(_how_it_died(watch, number)))
            else:
                suspects.append(cell)
        if fresh := [cell for cell in left if cell not in in_training]:
            tasks.append(PlannedTask(tuple(fresh), planned.core_seconds * len(fresh) / len(planned.cells)))
    size = -(-len(suspects) // MOST_ALONE)
    for start in range(0, len(suspects), max(size, 1)):
        cells = tuple(suspects[start : start + size])
        tasks.append(PlannedTask(cells, sum(CostModel().seconds(cell.config) for cell in cells)))
    if tasks:
        runs = sum(len(task.cells) for task in tasks)
        print(f"memcap: a process died without a word; runs that are tried again: {runs}", file=sys.stderr)
    return tasks


def _began(submitter: Submitter, watch: Watch, cell: Cell) -> bool:
    """Whether this submission has begun to train the run."""
    folder = RunFolder(submitter.ledger.outputs, cell.run_id)
    return folder.path.exists() and folder.attempts() > watch.submitted.attempts[cell.run_id]


def _how_it_died(watch: Watch, task: int) -> str:
    log = log_of(watch.submitted.folder.logs, watch.submitted.folder.read_state(task))
    state = watch.slurm_states.get(task)
    said = f"Slurm says {state}" if state else "out of memory, or a crash"
    return f"the process that trained it died every time ({said}); its log: {log}"


def log_of(logs: Path, state: dict[str, Any] | None) -> str:
    """The log of a task; the folder of all logs where it has not begun."""
    job = (state or {}).get("job")
    return str(logs / f"{job}_0_log.out") if job else str(logs)


def _stop(submitted: Submitted) -> None:
    """Ends local workers, and waits while they save."""
    local.stop_workers(submitted.workers)
    until = time.monotonic() + STOP_WAIT_S
    while time.monotonic() < until and not all(worker.done() for worker in submitted.workers):
        time.sleep(0.1)


def _close(submitter: Submitter, stopped: BaseException | None, wall_time_s: float) -> None:
    ledger = submitter.ledger
    goes_on = stopped is not None and submitter.launcher == "slurm"
    counts = Counter(outcome.status for outcome in ledger.outcomes)
    if goes_on:
        del counts["interrupted"]
    ledger.progress.tell(ledger.progress.done, ledger.progress.total, counts)
    ledger.study.tidy_index()
    print_closing(
        [(o.cell, o.status, o.summary, o.error) for o in ledger.outcomes],
        study=ledger.study,
        progress=ledger.progress,
        wall_time_s=wall_time_s,
        command=submitter.command,
        axes=submitter.axes,
        wandb_folder=ledger.wandb_folder,
    )
    if goes_on:
        name = ledger.study.name
        print(
            f"memcap: the sweep goes on in Slurm; python -m memcap.status study={name}, memcap.cancel ends it"
        )
