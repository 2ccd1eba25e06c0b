"""What every task of a study's submissions is doing: its own words, its process, and what Slurm says, put together."""

from __future__ import annotations

import dataclasses
import datetime
import socket
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final

from memcap.errors import BadInput
from memcap.records.progress import ENOUGH_S
from memcap.submission import slurm
from memcap.submission.folder import DONE, FAILED, REQUEUED, RUNNING, STOPPED, SubmissionFolder
from memcap.submission.processes import Workers, workers_here

QUEUED: Final = "queued"
DIED: Final = "died"  # it had begun, and ended without a word
NEVER_STARTED: Final = "never started"  # it is over, and has not said a word
SILENT_S: Final = (
    120.0  # a task says something every few seconds; on another machine, its silence is all there is
)
SUBMITTING_S: Final = 120.0  # between the folder of a submission and the ids of its jobs
SLURM_RUNS: Final = ("RUNNING", "COMPLETING", "SIGNALING", "STOPPED")


@dataclasses.dataclass(frozen=True)
class TaskStatus:
    """One task; ``name`` is '2.7', task 7 of the second submission.

    ``scheduler`` is Slurm's own word, ``reason`` why the task waits there.
    """

    name: str
    launcher: str
    state: str
    runs: tuple[str, ...]
    log: str
    job: str | None = None
    scheduler: str | None = None
    reason: str | None = None
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether its runs will be trained without anybody's doing."""
        return self.state in (QUEUED, RUNNING)

    @property
    def rate_per_s(self) -> float:
        """Member-steps per second of its training until its last word; 0 before that has lasted for ``ENOUGH_S``."""
        spent = float(self.said.get("train_s", 0))
        return int(self.said.get("steps_done", 0)) / spent if spent >= ENOUGH_S else 0.0

    def said_at(self, written: Any) -> bool:
        """Whether its process was there at this time, as records write it."""
        moment = time.time() - _age_s(written)
        until = float("inf") if self.state == RUNNING else float(self.said.get("updated", 0)) + 2
        return float(self.said.get("started", 0)) - 2 <= moment <= until

    @property
    def steps_left(self) -> int | None:
        """Member-steps that it has yet to train; None before it has said so."""
        if self.state != RUNNING or "steps_total" not in self.said:
            return None
        return max(0, int(self.said["steps_total"]) - int(self.said.get("steps_done", 0)))


def task_statuses(study: Path, ended: Container[str]) -> list[TaskStatus]:
    """The tasks of all submissions of a study, the oldest first.

    ``ended``: ids of runs that are done. A task of which all are is not asked about, so that a finished study asks
    Slurm nothing. A submission that cannot be read is left out.
    """
    found: list[TaskStatus] = []
    here: dict[Path, Workers] | None = None
    for folder in SubmissionFolder.all_of(study):
        record = folder.read_submission()
        try:
            plan = [tuple(task["runs"]) for task in folder.read_tasks()]
        except (BadInput, KeyError, TypeError):
            continue
        judged = _Submission(folder, record, plan)
        if any(run_id not in ended for runs in plan for run_id in runs):
            if judged.launcher == "slurm":
                judged.ask_slurm()
            else:
                here = workers_here() if here is None else here
                judged.workers = here.get(folder.logs.resolve(), Workers())
        found += [judged.status(task) for task in range(len(plan))]
    return found


class _Submission:
    """What is known of one submission while its tasks are judged."""

    def __init__(
        self, folder: SubmissionFolder, record: Mapping[str, Any], plan: list[tuple[str, ...]]
    ) -> None:
        self.folder, self.plan = folder, plan
        self.launcher = str(record.get("launcher", "local"))
        self.workers = Workers()
        self.told: dict[str, slurm.JobState] = {}
        self.reachable = False
        self.being_submitted = record.get("jobs") is None and _age_s(record.get("created")) < SUBMITTING_S
        self.jobs: dict[int, str] = {}
        for job in record.get("jobs") or []:
            self.jobs |= {task: f"{job['job_id']}_{place}" for place, task in enumerate(job.get("tasks", []))}
        self.alone = {j["tasks"][0] for j in record.get("jobs") or [] if len(j.get("tasks", [])) == 1}

    def ask_slurm(self) -> None:
        ids = sorted({job.partition("_")[0] for job in self.jobs.values()}, key=int)
        self.told = slurm.job_states(ids, slurm.job_name(self.folder))
        self.reachable = bool(self.told) or slurm.reachable()

    def status(self, task: int) -> TaskStatus:
        """One task, judged."""
        said = self.folder.read_state(task) or {}
        job = self.jobs.get(task) or said.get("job")
        told = self.told.get(str(job))
        if told is None and task in self.alone:
            told = self.told.get(str(job).partition("_")[0])
        scheduler = told.state if told else None
        if self.launcher == "slurm":
            state = self._judged_by_slurm(said, scheduler)
        else:
            state = self._judged_by_process(said)
        return TaskStatus(
            name=f"{self.folder.number}.{task}",
            launcher=self.launcher,
            state=state,
            runs=self.plan[task],
            log=str(self.folder.logs / f"{job}_0_log.out") if job else str(self.folder.logs),
            job=job,
            scheduler=scheduler,
            reason=told.reason if told else None,
            said=said,
        )

    def _judged_by_process(self, said: Mapping[str, Any]) -> str:
        word = said.get("state")
        if word in (DONE, FAILED, STOPPED):
            return str(word)
        if word is None:
            if self.being_submitted or (self.workers and not self.folder.cancelled):
                return QUEUED
            return STOPPED if self.folder.cancelled else NEVER_STARTED
        if said.get("host") != socket.gethostname():
            return RUNNING if _silent_s(said) < SILENT_S else DIED
        return RUNNING if said.get("pid") in self.workers.workers else DIED

    def _judged_by_slurm(self, said: Mapping[str, Any], scheduler: str | None) -> str:
        word = said.get("state")
        if word in (DONE, FAILED):
            return str(word)
        if scheduler is None:
            return self._judged_without_slurm(said)
        if scheduler == "COMPLETING" and word == REQUEUED:
            return QUEUED  # what it left is being cleared up
        if scheduler == "COMPLETING" and word == STOPPED and self.folder.cancelled:
            return STOPPED
        if scheduler in SLURM_RUNS:
            return RUNNING
        if scheduler not in slurm.OVER:
            return QUEUED
        if word == STOPPED or scheduler == "CANCELLED":
            return STOPPED
        return NEVER_STARTED if word is None else DIED

    def _judged_without_slurm(self, said: Mapping[str, Any]) -> str:
        """Slurm has forgotten the job, or cannot be asked from this machine."""
        word = said.get("state")
        if word == RUNNING and _silent_s(said) < SILENT_S:
            return RUNNING
        if word == STOPPED or (word is None and self.folder.cancelled):
            return STOPPED
        if self.being_submitted or (not self.reachable and self.jobs and word in (None, REQUEUED)):
            return QUEUED
        return NEVER_STARTED if word is None else DIED


def _silent_s(said: Mapping[str, Any]) -> float:
    return time.time() - float(said.get("updated", 0))


def _age_s(written: Any) -> float:
    """Seconds since a time as records write it; infinite for anything else."""
    try:
        then = datetime.datetime.strptime(str(written), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return float("inf")
    return time.time() - then.replace(tzinfo=datetime.timezone.utc).timestamp()
