"""The state of a study while others train it: its runs, its tasks, how fast it goes and how long it will take."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memcap.errors import BadInput
from memcap.records.frozen_cells import frozen_values
from memcap.records.progress import ENOUGH_S
from memcap.records.saved_steps import Saved, saved_steps
from memcap.records.study_folder import StudyFolder
from memcap.study.run_states import RunState, held, last_step, run_states
from memcap.submission.folder import FAILED, RUNNING
from memcap.submission.task_status import DIED, NEVER_STARTED, TaskStatus, task_statuses

# In the order in which they are named: ended, under way, and what memcap.resume would train.
STATES = ("finished", "diverged", "failed", "running", "queued", "interrupted", "not started")
LIVE = ("running", "queued")
RATES = 20  # latest tasks, from which that of a new one is guessed


@dataclasses.dataclass(frozen=True)
class StudyStatus:
    """``states``: the state of each run by id, one of STATES, in the study's order; steps are member-steps.

    ``steps_total`` counts what runs that ended early have really trained; None where the study does not say how long
    its runs are. ``rate_per_s`` and ``seconds_left`` are None while nothing has run for long enough.
    ``shares``: how much of its steps each running task has behind it, by its name.
    """

    study: StudyFolder
    overrides: dict[str, list[str]]
    states: dict[str, str]
    tasks: list[TaskStatus]
    steps_done: int
    steps_total: int | None
    rate_per_s: float | None
    shares: Mapping[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are in each state; only what there is, in the order of STATES."""
        counted = Counter(self.states.values())
        return {state: counted[state] for state in STATES if counted[state]}

    @property
    def live(self) -> bool:
        """Whether anything is trained or will be without anybody's doing."""
        return any(state in LIVE for state in self.states.values())

    @property
    def seconds_left(self) -> float | None:
        """At the rate of now, for what runs and what is queued."""
        if not self.rate_per_s or self.steps_total is None or not self.live:
            return None
        return (self.steps_total - self.steps_done) / self.rate_per_s

    @property
    def share(self) -> float:
        """What is done of the steps; of the runs where steps are not known."""
        if self.steps_total:
            return self.steps_done / self.steps_total
        ended = sum(state in STATES[:3] for state in self.states.values())
        return ended / max(len(self.states), 1)

    def left(self, task: TaskStatus) -> list[str]:
        """Runs of a task that have no result."""
        return [run_id for run_id in task.runs if self.states.get(run_id) not in ("finished", "diverged")]

    @property
    def dead(self) -> list[TaskStatus]:
        """Tasks that ended too early: they have left runs that no other task has taken over."""
        open_states = ("interrupted", "not started")
        return [
            task
            for task in self.tasks
            if task.state in (DIED, NEVER_STARTED, FAILED)
            and any(self.states.get(run_id) in open_states for run_id in task.runs)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        tasks = [{**dataclasses.asdict(task), "said": dict(task.said)} for task in self.tasks]
        return {
            "study": self.study.name,
            "path": str(self.study.path),
            "counts": self.counts,
            "live": self.live,
            "steps_done": self.steps_done,
            "steps_total": self.steps_total,
            "member_steps_per_s": self.rate_per_s,
            "seconds_left": self.seconds_left,
            "runs": self.states,
            "tasks": [{**task, "runs": len(task["runs"])} for task in tasks],
        }


def study_status(study: StudyFolder) -> StudyStatus:
    """Reads everything once. Raises BadInput for a study that is torn."""
    cells = {cell["run_id"]: cell["overrides"] for cell in study.read()["cells"]}
    found = run_states(study.outputs, cells, study.read_index())
    ended = {run_id for run_id, run in found.items() if run.ended}
    tasks = task_statuses(study.path, ended)
    states = _states(study.outputs, found, tasks)
    planned = _planned(study, found)
    saved = saved_steps(study.outputs, [run_id for run_id, run in found.items() if run.state == "started"])
    steps = _steps(study.outputs, found, states, tasks, planned, saved)
    return StudyStatus(study, cells, states, tasks, *steps, _shares(tasks, planned, saved))


def _states(outputs: Path, found: dict[str, RunState], tasks: list[TaskStatus]) -> dict[str, str]:
    """A run that a live task has is queued until that task begins it; any other is what its folder says."""
    live = {run_id: task for task in tasks if task.live for run_id in task.runs}
    return {run_id: _one(outputs, run, live.get(run_id)) for run_id, run in found.items()}


def _one(outputs: Path, run: RunState, task: TaskStatus | None) -> str:
    if run.ended:
        return run.state
    if run.state == "started":
        began = task is not None and task.state == RUNNING and task.said.get("started")
        # The file's clock may be that of a server, the task's that of its node.
        if (began and (run.started_at or 0) > float(began) - 1) or held(outputs, run.run_id):
            return "running"
    if run.state == "failed" and (task is None or task.state == RUNNING):
        return "failed"
    if task is not None:
        return "queued"
    return "interrupted" if run.state == "started" else "not started"


def _planned(study: StudyFolder, found: Mapping[str, RunState]) -> dict[str, int]:
    """The steps of each run; empty where the study does not say them of all its runs."""
    try:
        planned = {
            str(record["run_id"]): int(values["budget"]["steps"])
            for record, values in frozen_values(study.path / "cells.jsonl")
        }
    except (BadInput, KeyError, TypeError):
        return {}
    return planned if planned.keys() >= found.keys() else {}


def _shares(
    tasks: list[TaskStatus], planned: Mapping[str, int], saved: Mapping[str, Saved]
) -> dict[str, float]:
    """How much of its runs' steps each running task has behind it, what others have trained and saved included."""
    shares = {}
    for task in tasks if planned else []:
        if task.state == RUNNING:
            total = sum(planned[run_id] for run_id in task.runs if run_id in planned)
            left = total if task.steps_left is None else task.steps_left
            before = sum(saved[run_id].step for run_id in task.runs if run_id in saved)
            shares[task.name] = max(total - left, before) / max(total, 1)
    return shares


def _steps(
    outputs: Path,
    found: dict[str, RunState],
    states: dict[str, str],
    tasks: list[TaskStatus],
    planned: Mapping[str, int],
    saved: Mapping[str, Saved],
) -> tuple[int, int | None, float | None]:
    """Steps done, steps in all, and steps per second."""
    done = sum(run.steps for run in found.values() if run.ended)
    opened = {run_id for run_id, state in states.items() if state not in ("finished", "diverged", "failed")}
    covered: set[str] = set()
    for task in tasks:
        if task.state == RUNNING:
            mine = opened.intersection(task.runs) - covered
            covered |= mine
            # A task counts what is saved of a run only once it goes on with it.
            said = (
                sum(planned[r] for r in mine) - task.steps_left
                if task.steps_left is not None and planned
                else 0
            )
            done += max(said, sum(saved[run_id].step for run_id in mine & saved.keys()))
    done += sum(
        saved[run_id].step for run_id in saved.keys() & opened - covered if states[run_id] != "running"
    )
    alone = [run_id for run_id, state in states.items() if state == "running" and run_id not in covered]
    steps, rate = _alone(outputs, alone, found, saved)
    done, rate = done + steps, rate + _rate(tasks)
    if not planned:
        return done, None, rate or None
    total = sum(run.steps for run in found.values() if run.ended) + sum(planned[run_id] for run_id in opened)
    return min(done, total), total, rate or None


def _alone(
    outputs: Path, alone: list[str], found: dict[str, RunState], saved: Mapping[str, Saved]
) -> tuple[int, float]:
    """Steps, and steps per second, of runs that a command in the foreground trains: no task speaks of them."""
    if not alone:
        return 0, 0.0
    steps = sum(max(last_step(outputs, r), saved[r].step if r in saved else 0) for r in alone)
    before = sum(saved[run_id].begun for run_id in alone if run_id in saved)
    spent = time.time() - min(found[run_id].started_at or time.time() for run_id in alone)
    return steps, (steps - before) / spent if spent >= ENOUGH_S else 0.0


def _rate(tasks: list[TaskStatus]) -> float:
    """Member-steps per second of the tasks that run; one that has not said how far it is counts as others did."""
    told = [task.rate_per_s for task in tasks if task.rate_per_s]
    usual = sum(told[-RATES:]) / max(len(told[-RATES:]), 1)
    return sum(task.rate_per_s or usual for task in tasks if task.state == RUNNING)
