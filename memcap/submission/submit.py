"""From the cells of a sweep to tasks that others train: checked, packed, frozen, submitted."""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from memcap.backlog import sort_out
from memcap.cells import check_shared
from memcap.config.cell import Cell
from memcap.config.fused_support import check_engine
from memcap.config.memory import check_fits
from memcap.errors import BadInput
from memcap.ledger import Ledger
from memcap.listing import list_cells
from memcap.machine import check_machine, check_mps, check_writable
from memcap.outcome import CellOutcome
from memcap.records.progress import counted
from memcap.records.run_folder import RunFolder
from memcap.submission import local, slurm
from memcap.submission.cost import CostModel, calibrated
from memcap.submission.folder import SubmissionFolder
from memcap.submission.options import LauncherOptions
from memcap.submission.plan import PlannedTask, plan
from memcap.submission.under_way import not_under_way

TASKS_A_WORKER = 4  # at least, so that workers end at about the same time
LEAST_SIGNALS = 3  # a time limit is at least so many times as long as the notice of it


@dataclasses.dataclass
class Submitted:
    """A submission that runs: its folder, its tasks, and the local workers' jobs where it has any."""

    folder: SubmissionFolder
    tasks: list[PlannedTask]
    jobs: list[dict[str, Any]]
    workers: list[Any]
    attempts: dict[str, int]  # of each run, before
    failures: dict[str, int]  # the same


class Submitter:
    """Submits the cells of one study, once and again for what died, by one launcher with its options."""

    def __init__(
        self, launcher: str, options: LauncherOptions, axes: Sequence[str], command: str, ledger: Ledger
    ) -> None:
        self.launcher, self.options = launcher, options
        self.axes, self.command, self.ledger = list(axes), command, ledger

    @property
    def cpus(self) -> int:
        """Cores of one task."""
        if self.launcher == "slurm":
            return self.options.cpus or 1
        return self.options.cpus or max(1, local.num_cores() // local.num_workers(self.options))

    def plan(self, cells: Sequence[Cell], model: CostModel) -> list[PlannedTask]:
        """Tasks of about ``launcher.target_minutes``; shorter ones where workers would end far apart."""
        target = self.options.target_minutes * 60.0 * self.cpus
        if self.launcher == "local":
            total = sum(model.seconds(cell.config) for cell in cells)
            target = min(target, total / (TASKS_A_WORKER * local.num_workers(self.options)))
        return plan(cells, model, target_core_seconds=target)

    def submit(self, tasks: list[PlannedTask]) -> Submitted:
        """Freezes the tasks and hands them over; where that is refused nothing is left. Raises BadInput."""
        folder = SubmissionFolder.create(self.ledger.study.path)
        runs = [RunFolder(self.ledger.outputs, cell.run_id) for task in tasks for cell in task.cells]
        before = {run.run_id: run.attempts() if run.path.exists() else 0 for run in runs}
        failed = {run.run_id: run.failures() if run.path.exists() else 0 for run in runs}
        record = {
            "launcher": self.launcher,
            "options": self.options.to_dict(),
            "axes": self.axes,
            "command": self.command,
            "jobs": None,
        }
        try:
            folder.write_plan(tasks, self.ledger.known_attempts)
            folder.write_submission(record)  # before the jobs, which read it
            numbers, jobs, workers = list(range(len(tasks))), [], []
            if self.launcher == "slurm":
                minutes = slurm.time_limit_minutes(max(task.wall_seconds(self.cpus) for task in tasks))
                jobs = slurm.submit(folder, self.options, self.ledger.study.name, numbers, minutes)
            else:
                slots = range(min(local.num_workers(self.options), len(tasks)))
                workers = local.start_workers(folder, self.options, slots)
                jobs = [{"job_id": worker.job_id} for worker in workers]
            folder.write_submission({**record, "jobs": jobs})
        except BaseException:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return Submitted(folder, tasks, jobs, workers, before, failed)


def submit_cells(
    cells: Sequence[Cell], axes: Sequence[str], launcher: str, options: LauncherOptions, command: str
) -> list[CellOutcome]:
    """What ``hydra/launcher=slurm`` and ``local`` do with all cells of a sweep; an outcome for each, in order.

    Raises BadInput before anything is submitted or written. With ``launcher.wait`` it comes back when all runs have
    ended, else at once, with the status ``submitted`` for what others train from now on.
    """
    check_shared(cells)
    options = _checked(cells, launcher, options)
    name = cells[0].config.study
    assert name is not None
    ledger = Ledger(cells, name)
    existed = ledger.study.path.exists()
    submitter = Submitter(launcher, options, axes, command, ledger)
    backlog = sort_out(ledger, ledger.outcomes)
    todo = [*backlog.to_train, *backlog.to_measure]
    if not options.wait:
        todo = not_under_way(todo, ledger.study)
    ledger.check_num_wandb_runs(len(todo))
    tasks = submitter.plan(todo, calibrated(todo, ledger.outputs)) if todo else []
    if options.dry_run:
        print_plan(submitter, tasks)
        return _in_order(cells, ledger, "planned")
    try:
        list_cells(ledger, axes, command)
        submitted = submitter.submit(tasks) if tasks else None
    except BadInput:
        if not existed:
            shutil.rmtree(ledger.study.path, ignore_errors=True)
        raise
    is_left = any(ledger.is_open(outcome.cell) for outcome in ledger.outcomes)
    if not options.wait and (submitted is not None or is_left):
        print_submitted(submitter, submitted)
        return _in_order(cells, ledger, "submitted")
    from memcap.submission.waiting import wait_for

    wait_for(submitter, submitted)
    return _in_order(cells, ledger, "interrupted")


def print_plan(submitter: Submitter, tasks: Sequence[PlannedTask]) -> None:
    """What would be submitted."""
    walls = [task.wall_seconds(submitter.cpus) for task in tasks]
    ledger = submitter.ledger
    planned = {cell.run_id for task in tasks for cell in task.cells}
    ended = sum(not ledger.is_open(o.cell) for o in ledger.outcomes if o.cell.run_id not in planned)
    where = f"{counted(len(tasks), 'task')} of {counted(submitter.cpus, 'core')}"
    done = f"{ended} {'is' if ended == 1 else 'are'} finished"
    print(f"study {ledger.study.name}: {counted(len(planned), 'run')} to train in {where}, {done}")
    for number, (task, wall) in enumerate(zip(tasks[:10], walls, strict=False)):
        print(f"  task {number}: {counted(len(task.cells), 'run')}, about {duration(wall)}")
    if len(tasks) > 10:
        print(f"  ... and {len(tasks) - 10} more")
    if tasks:
        core_hours = sum(task.core_seconds for task in tasks) / 3600
        print(f"predicted: {core_hours:.3g} core-hours, the longest task {duration(max(walls))}")
        if submitter.launcher == "slurm":
            limit = submitter.options.time_minutes or slurm.time_limit_minutes(max(walls))
            print(f"time limit of a task: {limit} min (launcher.time_minutes)")
    print("nothing was submitted (launcher.dry_run=true)")


def print_submitted(submitter: Submitter, submitted: Submitted | None) -> None:
    """Where things are, and what to type next, when nobody waits."""
    study, tracking = submitter.ledger.study, submitter.ledger.config.tracking
    if submitted is None:
        print("nothing submitted: others have all that is not finished")
    else:
        runs = sum(len(task.cells) for task in submitted.tasks)
        ids = ", ".join(str(job["job_id"]) for job in submitted.jobs[:5])
        ids += " ..." if len(submitted.jobs) > 5 else ""
        what = "Slurm jobs" if submitter.launcher == "slurm" else "worker processes"
        print(f"{counted(runs, 'run')} submitted in {counted(len(submitted.tasks), 'task')} ({what} {ids})")
    print(f"study:  {quote(str(study.path))}")
    where = "" if str(study.outputs) == "outputs" else f" paths.outputs={quote(str(study.outputs))}"
    for command in ("status", "cancel"):
        print(f"next:   python -m memcap.{command} study={quote(study.name)}{where}")
    if submitted is not None and tracking.per == "study" and tracking.mode != "disabled":
        print("memcap: tracking.per=study: its W&B run is written by a command that waits, not by this one")
    sys.stdout.flush()


def duration(seconds: float) -> str:
    """'40 s', '12 min', '3.5 h'."""
    if seconds < 99.5:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


def _in_order(cells: Sequence[Cell], ledger: Ledger, status: str) -> list[CellOutcome]:
    """The outcome of each cell; ``status`` for those of which nothing has become."""
    for outcome in ledger.outcomes:
        if outcome.status == "interrupted":
            outcome.status = status
    return [ledger.by_id[cell.run_id] for cell in cells]


def _checked(cells: Sequence[Cell], launcher: str, options: LauncherOptions) -> LauncherOptions:
    """The options, with the GPUs of this machine where its workers need them.

    Raises BadInput for what can be known here; whether a node has its device, only the node knows.
    """
    config = cells[0].config
    if config.fail_fast and not options.wait:
        raise BadInput("fail_fast=true needs launcher.wait=true: nobody would stop the other tasks")
    if options.python is not None and not options.python.strip():
        raise BadInput('launcher.python must be a command or null, got ""')
    if launcher == "local":
        check_machine(cells)
        if options.gpus is None and any(cell.config.hardware.device == "cuda" for cell in cells):
            import torch

            options = dataclasses.replace(options, gpus=torch.cuda.device_count())
        return options
    slurm.check_slurm()
    for cell in cells:
        check_mps(cell)
        check_engine(cell.config)
        if cell.config.hardware.memory_gib is not None:
            check_fits(cell.config)
    check_writable(Path(config.paths.outputs))
    if options.time_minutes is not None and 60 * options.time_minutes < LEAST_SIGNALS * options.signal_s:
        raise BadInput(
            f"launcher.time_minutes={options.time_minutes} leaves no time to train before the signal"
            f" {options.signal_s} s ahead of the limit; raise it, or lower launcher.signal_s"
        )
    return options
