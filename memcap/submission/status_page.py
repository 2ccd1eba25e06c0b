"""The lines of memcap.status: how far a study is, what runs where, what failed and why, what to type next."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from memcap.records.progress import counted, si
from memcap.records.run_folder import RunFolder
from memcap.records.sparkline import BLOCKS
from memcap.records.study_folder import StudyFolder
from memcap.records.training_view import clock, filled
from memcap.submission.folder import FAILED, RUNNING
from memcap.submission.study_status import StudyStatus
from memcap.submission.task_status import NEVER_STARTED, QUEUED, TaskStatus

MOST = 10  # tasks and failures that are named
BAR = 24
TAIL_BYTES = 4096
MOST_CHARACTERS = 300


def status_lines(status: StudyStatus, width: int, blocks: str = BLOCKS) -> list[str]:
    """All of it; a line is cut at ``width`` where only words are lost, never an error or a path."""
    lines = [f"study {status.study.name}: {_counted(status)}", _progress(status, blocks)]
    lines += _tasks(status, width)
    lines += _dead(status)
    lines += _failures(status)
    lines += ["", *_next(status)] if _next(status) else []
    return lines


def _counted(status: StudyStatus) -> str:
    counts = ", ".join(f"{number} {state}" for state, number in status.counts.items())
    return counted(len(status.states), "run") + (f": {counts}" if counts else "")


def _progress(status: StudyStatus, blocks: str) -> str:
    # 100 % is said of what is over only.
    share = status.share if status.share == 1 else min(status.share, 0.994)
    parts = [f"{filled(share, BAR, blocks)} {share:4.0%}"]
    if status.steps_total is not None:
        parts.append(f"{si(status.steps_done)} of {si(status.steps_total)} member-steps")
    if status.live and status.rate_per_s:
        parts.append(f"{si(status.rate_per_s)} member-steps/s")
    if status.seconds_left is not None:
        parts.append(f"{clock(status.seconds_left)} left")
    return "  ".join(parts)


def _tasks(status: StudyStatus, width: int) -> Iterator[str]:
    running = [task for task in status.tasks if task.state == RUNNING]
    queued = [task for task in status.tasks if task.state == QUEUED]
    if running:
        yield ""
        yield f"running: {counted(len(running), 'task')}"
        for task in running[:MOST]:
            yield _running(status, task)[:width]
        yield from _more(len(running))
    if queued:
        words = Counter(_waits(task) for task in queued)
        told = ", ".join(f"{number} {word}" for word, number in words.items())
        yield ("" if running else "\n") + f"queued:  {counted(len(queued), 'task')}: {told}"


def _waits(task: TaskStatus) -> str:
    """What a task that is queued waits for, in Slurm's words where there are any."""
    if task.scheduler is None:
        return "not begun" if task.launcher == "slurm" else "waiting for a worker"
    return f"{task.scheduler} ({task.reason})" if task.reason else task.scheduler


def _running(status: StudyStatus, task: TaskStatus) -> str:
    said = task.said
    if (
        said.get("state") != RUNNING
    ):  # Slurm has ended it, or started it and its process has not said a word since
        what = "ending" if task.scheduler == "COMPLETING" else "starting"
        return f"  {task.name:<6} {what}{_job(task)}"
    left = len(status.left(task))
    parts = [f"  {task.name:<6} on {said.get('host', '?')}, pid {said.get('pid', '?')}{_job(task)}"]
    parts.append(f"{len(task.runs) - left} of {counted(len(task.runs), 'run')}")
    if share := status.shares.get(task.name):
        parts.append(f"{min(share, 1):.0%}")
    parts.append(clock(time.time() - float(said.get("started", 0))))
    return "  ".join(parts)


def _job(task: TaskStatus) -> str:
    return f", job {task.job}" if task.launcher == "slurm" and task.job else ""


def _dead(status: StudyStatus) -> Iterator[str]:
    dead = status.dead
    if not dead:
        return
    yield ""
    yield f"ended too early: {counted(len(dead), 'task')}"
    for task in dead[:MOST]:
        who = f" (job {task.job}, Slurm says {task.scheduler})" if task.scheduler else ""
        yield f"  {task.name:<6} {_how(task)}{who}; runs left: {len(status.left(task))}"
        if task.state == NEVER_STARTED and (line := last_line(Path(task.log))):
            yield f"         its last words: {line}"
        yield f"         log: {task.log}"
    yield from _more(len(dead))


def _how(task: TaskStatus) -> str:
    """Why a task that is over has left runs."""
    if task.state == FAILED:
        return f"it failed: {task.said.get('error', 'no reason was given')}"
    if task.state == NEVER_STARTED:
        slurm = task.launcher == "slurm"
        return "it never began to train" + (": are the outputs visible on the node?" if slurm else "")
    if task.scheduler:
        return "it died without a word"
    host = task.said.get("host", "?")
    return f"it died without a word: no process {task.said.get('pid', '?')} on {host}; killed, out of memory, a crash"


def last_line(log: Path) -> str:
    """The last line of a log that says something; nothing where there is no log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:MOST_CHARACTERS]


def _failures(status: StudyStatus) -> Iterator[str]:
    failed = [run_id for run_id, state in status.states.items() if state == "failed"]
    if not failed:
        return
    tasks = {run_id: task for task in status.tasks if task.said for run_id in task.runs}
    yield ""
    yield f"failed: {counted(len(failed), 'run')}"
    for run_id in failed[:MOST]:
        folder = RunFolder(status.study.outputs, run_id)
        failure = folder.read_failure() or {"error": "its failure.json is gone"}
        yield f"  {' '.join(status.overrides[run_id]) or run_id}: {str(failure['error']).splitlines()[-1]}"
        yield f"         traceback: {folder.path / 'failure.json'}"
        if (task := tasks.get(run_id)) is not None and task.said_at(failure.get("time")):
            yield f"         log: {task.log}"
    yield from _more(len(failed))


def _more(number: int) -> Iterator[str]:
    if number > MOST:
        yield f"  ... and {number - MOST} more"


def _next(status: StudyStatus) -> Sequence[str]:
    study = study_words(status.study)
    counts = status.counts
    lines = []
    if "interrupted" in counts or "not started" in counts:
        # A sweep of this terminal trains its runs in packs: those to come belong to no task.
        waits = not any(task.live for task in status.tasks) and "running" in counts
        if not waits:
            lines.append(f"next:   python -m memcap.resume {study}   # goes on with what is not finished")
    if "failed" in counts and not lines:
        lines.append(f"next:   python -m memcap.resume {study} only=failed   # tries them once more")
    if any(task.live for task in status.tasks):
        lines.append(f"next:   python -m memcap.cancel {study}   # stops its tasks; what is finished stays")
    return lines


def study_words(study: StudyFolder) -> str:
    """'study=NAME', with the outputs' folder where it is not the usual one."""
    where = "" if str(study.outputs) == "outputs" else f" paths.outputs={quote(str(study.outputs))}"
    return f"study={quote(study.name)}{where}"
