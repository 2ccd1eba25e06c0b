"""What runs in a task: its cells, taken from the submission's folder, trained as any sweep is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from memcap.errors import BadInput, Interrupted
from memcap.records.progress import Progress, counted
from memcap.submission.cost import note_costs
from memcap.submission.folder import DONE, FAILED, REQUEUED, RUNNING, STOPPED, SubmissionFolder

SAY_EVERY_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 60.0
MOST_STARTS_IN_VAIN: Final = 2
IN_VAIN: Final = "the time limit came before anything was trained; raise launcher.time_minutes"
GPUS_GIVEN: Final = (
    "MEMCAP_VISIBLE_GPUS"  # what a local worker may see, since submitit hides all or counts from 0
)


class TaskFailed(RuntimeError):
    """Runs of a task failed: raised at its end, so that Slurm says FAILED."""


def run_task(submission: str, task: int) -> dict[str, int]:
    """Trains one task and returns how many runs ended how; what submitit calls on the node.

    USR2 (the time limit is near) and SIGTERM save what has been trained; after USR2 Slurm is asked to queue the task
    again. Raises TaskFailed at the end where runs failed.
    """
    _use_the_cores_given()
    _listen()
    told = TaskReport(SubmissionFolder(Path(submission)), task)
    try:
        counts = _train(told)
    except Interrupted as error:
        _ignore()
        near_the_limit = str(error) == "SIGUSR2"
        if near_the_limit and told.starts_in_vain() >= MOST_STARTS_IN_VAIN:
            told.end(FAILED, error=IN_VAIN)
            raise TaskFailed(IN_VAIN) from None
        again = near_the_limit and _requeue()
        told.end(REQUEUED if again else STOPPED)
        raise SystemExit(128 + signal.SIGTERM) from None
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        told.end(STOPPED if stopped else FAILED, error=None if stopped else _one_line(error))
        raise
    failed = counts.get("failed", 0)
    told.end(FAILED if failed else DONE, error=f"{counted(failed, 'run')} failed" if failed else None)
    if failed:
        raise TaskFailed(f"{failed} of {counted(sum(counts.values()), 'run')} failed; see memcap.status")
    return counts


def work_through(submission: str) -> int:
    """Takes the submission's tasks one after the other, beside other workers of the same list.

    Returns how many it took; raises TaskFailed at the end where runs failed.
    """
    _see_the_gpus_given()
    folder, taken, failed = SubmissionFolder(Path(submission)), 0, 0
    for task in range(len(folder.read_tasks())):
        if not folder.cancelled and folder.claim(task):
            taken += 1
            try:
                run_task(submission, task)
            except TaskFailed:
                failed += 1
            except Exception:  # the task has said why; the next one may do better
                traceback.print_exc()
                failed += 1
    if failed:
        raise TaskFailed(f"runs failed in {failed} of {counted(taken, 'task')}; see memcap.status")
    return taken


class TaskReport:
    """The state file of a task, written every few seconds by a thread of its own."""

    def __init__(self, folder: SubmissionFolder, task: int) -> None:
        self.folder, self.task = folder, task
        before = folder.read_state(task) or {}
        self.record: dict[str, Any] = {
            "state": RUNNING,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": _job(),
            "starts": int(before.get("starts", 0)) + 1,
            "starts_in_vain": int(before.get("starts_in_vain", 0)),
            "steps_before": int(before.get("steps_before", 0)) + int(before.get("steps_done", 0)),
            "started": time.time(),
        }
        self.look: Callable[[], dict[str, Any]] = dict
        self._ended = threading.Event()
        self.say()
        self._thread = threading.Thread(target=self._keep_saying, daemon=True, name="memcap-report")
        self._thread.start()

    def watch(self, progress: Callable[[], Progress]) -> None:
        """Where to look at the progress of the training."""

        def look() -> dict[str, Any]:
            now = progress()
            return {
                "steps_done": now.done,
                "steps_total": now.total,
                "train_s": time.monotonic() - now.started,
                "counts": dict(now.counts),
            }

        self.look = look

    def say(self) -> None:
        """Writes the state as it is now; a disk that does not take it does not end the training."""
        self.record |= {**self.look(), "updated": time.time()}
        try:
            self.folder.write_state(self.task, self.record)
        except OSError as error:
            print(f"memcap: the state of task {self.task} could not be written: {error}", file=sys.stderr)

    def starts_in_vain(self) -> int:
        """How many starts in a row, this one included, have trained nothing."""
        self.record |= self.look()
        moved = self.record.get("steps_done", 0) > 0
        self.record["starts_in_vain"] = 0 if moved else self.record["starts_in_vain"] + 1
        return int(self.record["starts_in_vain"])

    def end(self, state: str, error: str | None = None) -> None:
        """The last word of this task."""
        self._ended.set()
        self._thread.join()
        self.record |= {"state": state, "ended": time.time()} | ({"error": error} if error else {})
        self.say()

    def _keep_saying(self) -> None:
        while not self._ended.wait(SAY_EVERY_S):
            self.say()


def _train(told: TaskReport) -> dict[str, int]:
    """The counts of a task's endings by status."""
    from memcap.cells import Part, train_cells

    cells = told.folder.read_cells(told.task)
    if not cells:
        return {}
    submission = told.folder.read_submission()
    part = Part(f"{told.folder.number}.{told.task}", told.watch)
    outcomes = train_cells(
        cells, submission.get("axes", ()), submission.get("command", ""), usr2_stops=True, part=part
    )
    note_costs(Path(cells[0].config.paths.outputs), cells)
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return counts


def _listen() -> None:
    """SIGTERM and USR2 are exceptions from the start; submitit's handlers would ignore one and pickle at the other."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    _on_stop(stop)


def _ignore() -> None:
    """Slurm sends SIGTERM twice, and once more when it queues a task again: the last word is said in any case."""
    _on_stop(signal.SIG_IGN)


def _on_stop(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
        signal.signal(signal.SIGUSR2, handler)


def _see_the_gpus_given() -> None:
    """Before torch looks: the GPU of this worker, or those that its submitter saw."""
    given = os.environ.get(GPUS_GIVEN)
    if given == "all":
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    elif given is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = given


def _use_the_cores_given() -> None:
    """OpenMP, and with it torch, starts as many threads as the task was given cores; before torch is imported."""
    if given := os.environ.get("SLURM_CPUS_PER_TASK"):
        os.environ.setdefault("OMP_NUM_THREADS", given)


def _requeue() -> bool:
    """Asks Slurm to queue this task again, whatever it ends with; False, with Slurm's words, where it does not."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm" or (job := _job()) is None:
        return False
    command = ["scontrol", "requeue", job]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
        refused = done.stderr if done.returncode else None
    except (OSError, subprocess.TimeoutExpired) as error:
        refused = str(error)
    if refused is not None:
        print(f"memcap: {' '.join(command)}: {' '.join(refused.split())}", file=sys.stderr)
    return refused is None


def _job() -> str | None:
    """The id of this task in its scheduler; a local worker inside a Slurm allocation is no task of Slurm."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        return os.environ.get("SUBMITIT_LOCAL_JOB_ID")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, BadInput | TaskFailed) else f"{type(error).__name__}: {text}"
