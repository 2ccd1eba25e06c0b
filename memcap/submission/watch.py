"""Waiting for a submission: its progress by runs, its dead tasks, their runs once more, and the closing table."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from memcap.errors import BadInput, Interrupted
from memcap.records.closing import print_closing
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.submission import local, slurm
from memcap.submission.folder import DONE, FAILED
from memcap.submission.plan import PlannedTask
from memcap.submission.retry import Retries
from memcap.submission.submit import Submitted, Submitter

LOOK_EVERY_S: Final = {"local": 0.3, "slurm": 1.0}
ASK_SLURM_EVERY_S: Final = 5.0
STOP_WAIT_S: Final = 60.0  # for local workers to save what they have
SUBMIT_AGAIN_S: Final = 1800.0  # a cluster may be away for so long while a sweep waits
SUBMIT_AGAIN_PAUSE_S: Final = 15.0


@dataclasses.dataclass
class Watch:
    """What is known of the tasks of one submission."""

    submitted: Submitted
    states: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict)
    over: set[int] = dataclasses.field(default_factory=set)
    slurm_states: dict[int, str] = dataclasses.field(default_factory=dict)
    missed: Counter[int] = dataclasses.field(default_factory=Counter)  # looks in a row without a state
    asked: float = 0.0

    def look(self) -> bool:
        """Reads what tasks have said; True once all of them are over."""
        self._read(task for task in range(len(self.submitted.tasks)) if task not in self.over)
        if self.submitted.workers:
            return all(worker.done() for worker in self.submitted.workers)
        self._ask_slurm()
        return len(self.over) == len(self.submitted.tasks)

    def _read(self, tasks: Iterable[int]) -> None:
        for task in tasks:
            if (state := self.submitted.folder.read_state(task)) is not None:
                self.states[task] = state
                if state.get("state") in (DONE, FAILED):
                    self.over.add(task)

    def _ask_slurm(self) -> None:
        """Tasks that have ended without a word are over as well, and those that Slurm has forgotten."""
        if time.monotonic() - self.asked < ASK_SLURM_EVERY_S:
            return
        self.asked = time.monotonic()
        name = slurm.job_name(self.submitted.folder)
        told = slurm.states([str(job["job_id"]) for job in self.submitted.jobs], name)
        ended: list[int] = []
        for job in self.submitted.jobs:
            for place, task in enumerate(job["tasks"]):
                alone = told.get(str(job["job_id"])) if len(job["tasks"]) == 1 else None
                state = told.get(f"{job['job_id']}_{place}") or alone
                if state is not None:
                    self.slurm_states[task] = state
                self.missed[task] = self.missed[task] + 1 if state is None else 0
                if task not in self.over and (state in slurm.OVER or self.missed[task] > 1):
                    ended.append(task)
        # While slurmctld is away, sacct alone does not know what is queued again.
        if ended and slurm.reachable():
            self.over.update(ended)
            self._read(ended)  # its last word may be of a moment ago


def wait_for(submitter: Submitter, submitted: Submitted | None) -> None:
    """Waits until all runs of the study have ended, tries those of dead processes again, prints the table.

    Ctrl-C ends local workers, which save what they have; what Slurm has goes on there.
    """
    ledger, started = submitter.ledger, time.monotonic()
    skipped = Counter(o.status for o in ledger.outcomes if not ledger.is_open(o.cell))
    open_cells = [o.cell for o in ledger.outcomes if ledger.is_open(o.cell)]
    progress = Progress(sum(cell.config.budget.steps for cell in open_cells), len(ledger.by_id))
    ledger.progress = progress
    retries = Retries(submitter)
    stopped: BaseException | None = None
    with progress:
        progress.tell(0, progress.total, skipped)
        try:
            while submitted is not None:
                watch = Watch(submitted)
                _until_over(watch, progress, skipped)
                refresh(submitter, submitted)
                skipped = Counter(o.status for o in ledger.outcomes if not ledger.is_open(o.cell))
                again = retries.tasks(submitted, watch.states, watch.slurm_states)
                submitted = _submit_again(submitter, again) if again else None
        except (KeyboardInterrupt, Interrupted) as error:
            stopped = error
            assert submitted is not None
            if submitted.workers:
                _stop(submitted)
            refresh(submitter, submitted)
    _close(submitter, stopped, time.monotonic() - started)
    if stopped is not None:
        raise stopped
    if retries.cancelled:
        raise Interrupted(
            f"cancelled in Slurm; runs not finished: {retries.cancelled}; the same command goes on"
        )


def refresh(submitter: Submitter, submitted: Submitted) -> None:
    """Takes the outcomes from the records; failures of earlier commands are none of this one."""
    ledger = submitter.ledger
    for outcome in ledger.outcomes:
        if not ledger.is_open(outcome.cell):
            continue
        folder = RunFolder(ledger.outputs, outcome.cell.run_id)
        if (result := folder.read_result()) is not None:
            outcome.status, outcome.summary = result["status"], result["summary"]
        elif folder.failures() > submitted.failures.get(outcome.cell.run_id, 0):
            failure = folder.read_failure() or {"error": "its failure.json is torn"}
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


def _submit_again(submitter: Submitter, tasks: list[PlannedTask]) -> Submitted | None:
    """Submits what is tried again, with patience for a slurmctld that is away; None where it stays away."""
    until = time.monotonic() + SUBMIT_AGAIN_S
    while True:
        try:
            return submitter.submit(tasks)
        except BadInput as error:
            print(f"memcap: {error}", file=sys.stderr)
            if time.monotonic() > until:
                return None
            time.sleep(SUBMIT_AGAIN_PAUSE_S)


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
