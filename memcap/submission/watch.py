"""What becomes of the tasks of a submission: what they say themselves, and what Slurm says of the others."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from memcap.records.progress import counted
from memcap.submission import slurm
from memcap.submission.folder import DONE, FAILED, RUNNING
from memcap.submission.submit import Submitted

ASK_SLURM_EVERY_S: Final = 5.0
LOOK_EVERY_S: Final = {"local": 0.3, "slurm": 1.0}
TASKS_A_SECOND: Final = 300  # states that are read: with many tasks looks are rarer


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

    @property
    def pause_s(self) -> float:
        """Between two looks."""
        least = LOOK_EVERY_S["local" if self.submitted.workers else "slurm"]
        return max(least, (len(self.submitted.tasks) - len(self.over)) / TASKS_A_SECOND)

    def counts(self) -> Counter[str]:
        """Runs that have ended, by status, as the tasks say."""
        return sum((Counter(state.get("counts", {})) for state in self.states.values()), Counter())

    def steps(self) -> tuple[int, int]:
        """Member-steps that were trained by all starts of the tasks, and those with what is left.

        A start takes what it goes on from and what ends early off its total.
        """
        done = total = 0
        for number, planned in enumerate(self._planned):
            state = self.states.get(number, {})
            before = state.get("steps_before", 0)
            done += before + state.get("steps_done", 0)
            total += before + state.get("steps_total", planned)
        return done, total

    @functools.cached_property
    def _planned(self) -> list[int]:
        """Member-steps of each task, from the start of its runs."""
        return [sum(cell.config.budget.steps for cell in task.cells) for task in self.submitted.tasks]

    def tasks_text(self) -> str:
        """'2 tasks running, 5 queued'; nothing once all are over."""
        open_tasks = [task for task in range(len(self.submitted.tasks)) if task not in self.over]
        running = sum(self._runs(task) for task in open_tasks)
        return f"{counted(running, 'task')} running, {len(open_tasks) - running} queued" if open_tasks else ""

    def _runs(self, task: int) -> bool:
        said = self.states.get(task, {}).get("state") == RUNNING
        return said and self.slurm_states.get(task) != "PENDING"
