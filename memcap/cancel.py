"""python -m memcap.cancel study=NAME: ends what trains a study in the background.

Slurm's jobs that are not over are cancelled, workers of this machine get SIGTERM; both save what they have. What is
finished stays, and memcap.resume goes on from there.

  study=NAME         the study
  paths.outputs=DIR  where it lies (outputs)
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memcap.records.progress import counted
from memcap.records.study_folder import StudyFolder
from memcap.study_command import run_command, words_of

if TYPE_CHECKING:
    from memcap.submission.task_status import TaskStatus

USAGE: Final = "python -m memcap.cancel study=NAME [paths.outputs=DIR]"
SAVE_S: Final = 60.0  # how long a worker may take to save what it has
LOOK_EVERY_S: Final = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done or nothing to do, 1 something goes on, 2 no such study (said in one line)."""
    return run_command(cancel, arguments, f"usage: {USAGE}\n\n{__doc__}")


def cancel(arguments: Sequence[str]) -> int:
    """Cancels, and says what was done."""
    from memcap.submission.folder import SubmissionFolder
    from memcap.submission.status_page import study_words
    from memcap.submission.study_status import study_status

    study = words_of(arguments, USAGE, keys=("study",)).study()
    status = study_status(study)
    live = [task for task in status.tasks if task.live]
    by_number: dict[int, list[TaskStatus]] = {}
    for task in live:
        by_number.setdefault(int(task.name.partition(".")[0]), []).append(task)
    here: list[Path] = []
    done = True
    for folder in SubmissionFolder.all_of(study.path):
        tasks = by_number.get(folder.number)
        if not tasks:
            continue
        folder.cancel()  # first, so that nobody who waits tries its runs again
        if tasks[0].launcher == "slurm":
            done &= _cancel_slurm(tasks)
        else:
            here.append(folder.logs.resolve())
            done &= _elsewhere(tasks)
    done &= _stop_workers(here)
    if not live:
        print(_nothing(study, status.counts.get("running", 0)))
        return 0
    after = study_status(study)
    left = len(after.states) - sum(after.counts.get(state, 0) for state in ("finished", "diverged"))
    print(f"{counted(len(live), 'task')} of study {study.name} cancelled; runs not finished: {left}")
    if left:
        print(f"next:   python -m memcap.resume {study_words(study)}")
    return 0 if done else 1


def _cancel_slurm(tasks: Sequence[TaskStatus]) -> bool:
    """One scancel for the jobs of a submission; an array as a whole, since it touches only what is not over."""
    from memcap.submission import slurm

    ids = sorted({str(task.job).partition("_")[0] for task in tasks if task.job}, key=int)
    refused = slurm.cancel(ids)
    if refused is None:
        print(f"Slurm jobs cancelled: {', '.join(ids)}")
    else:
        print(f"memcap: scancel {' '.join(ids)}: {refused}", file=sys.stderr)
    return refused is None


def _stop_workers(folders: Sequence[Path]) -> bool:
    """SIGTERM to the workers of these submissions on this machine, until they have saved and gone."""
    from memcap.submission.processes import workers_here

    if not folders:
        return True
    asked: set[int] = set()
    until = time.monotonic() + SAVE_S
    while True:
        found = workers_here()
        mine = [found[folder] for folder in folders if folder in found]
        if not mine or time.monotonic() > until:
            break
        for pid in [pid for workers in mine for pid in workers.workers]:
            if pid not in asked:  # also those that a controller has started meanwhile
                asked.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        time.sleep(LOOK_EVERY_S)
    if mine:
        pids = [str(pid) for workers in mine for pid in (*workers.workers, *workers.controllers)]
        print(f"memcap: still running after {SAVE_S:.0f} s: {', '.join(pids)}", file=sys.stderr)
    print(f"workers stopped on {socket.gethostname()}: {len(asked)}")
    return not mine


def _elsewhere(tasks: Sequence[TaskStatus]) -> bool:
    """Workers of other machines cannot be signalled from here; they take no further task."""
    hosts = {str(task.said.get("host")) for task in tasks if task.said} - {socket.gethostname()}
    if hosts:
        print(
            f"memcap: workers on {', '.join(sorted(hosts))} end after the task that they have; to stop them at once,"
            " give this command there",
            file=sys.stderr,
        )
    return not hosts


def _nothing(study: StudyFolder, running: int) -> str:
    """Why there is nothing to cancel."""
    if running:
        return (
            f"study {study.name}: no tasks to cancel; {counted(running, 'run')} trained by a command in the foreground:"
            " Ctrl-C ends it"
        )
    return f"study {study.name}: nothing to cancel, none of its tasks is queued or running"


if __name__ == "__main__":
    sys.exit(main())
