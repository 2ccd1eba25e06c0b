"""Slurm, by submitit and by its own commands: arrays of tasks, what became of them, and their end."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from memcap.errors import BadInput
from memcap.submission.folder import SubmissionFolder
from memcap.submission.options import LauncherOptions

USUAL_MAX_ARRAY_SIZE: Final = 1001
LEAST_MINUTES: Final = 10  # of a time limit that is made from a prediction
COMMAND_TIMEOUT_S: Final = 60
# States in which a job will not run again by itself.
OVER: Final = (
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED"
)  # fmt: skip


def check_slurm() -> None:
    """Raises BadInput where this machine cannot submit."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise BadInput(
            "hydra/launcher=slurm needs sbatch and srun, which this machine lacks; submit from a login node of the"
            " cluster (Debian: apt-get install slurm-client), or use hydra/launcher=local"
        )


def submit(
    folder: SubmissionFolder, options: LauncherOptions, name: str, tasks: Sequence[int], minutes: int
) -> list[dict[str, Any]]:
    """Submits these tasks as arrays and returns ``{"job_id", "tasks"}`` of each; all of them or none.

    Raises BadInput with sbatch's own words where it refuses.
    """
    import submitit

    from memcap.submission.worker import run_task

    executor = submitit.SlurmExecutor(folder=folder.logs, python=options.python)
    asked = {**parameters(options, name, minutes), "job_name": job_name(folder)}
    try:
        executor.update_parameters(**asked)
    except (ValueError, TypeError) as error:
        raise BadInput(f"launcher: {' '.join(str(error).split())}") from None
    size = options.max_array_size or max_array_size()
    jobs: list[dict[str, Any]] = []
    try:
        for start in range(0, len(tasks), size):
            part = list(tasks[start : start + size])
            with contextlib.redirect_stderr(io.StringIO()):  # submitit repeats there what its error says
                submitted = executor.map_array(run_task, [str(folder.path.absolute())] * len(part), part)
            jobs.append({"job_id": submitted[0].job_id.partition("_")[0], "tasks": part})
    except BaseException as error:
        cancel([job["job_id"] for job in jobs])
        words = sbatch_words(error)
        if words is None:
            raise
        raise BadInput(f"sbatch refuses the sweep: {words}; nothing was submitted") from None
    return jobs


def parameters(options: LauncherOptions, name: str, minutes: int) -> dict[str, Any]:
    """submitit's names; environment variables are set in the batch script, before anything else of the site's.

    Raises BadInput for what would take memcap's jobs away from it.
    """
    if taken := {key.replace("-", "_") for key in options.extra} & {"job_name"}:
        raise BadInput(f"launcher.extra cannot have {min(taken)}: memcap knows its jobs by it; leave it out")
    flags = {"true": True, "false": None}  # true: an option without a value; false: none of it
    extra = {key: flags.get(value, value) for key, value in options.extra.items()}
    setup = [f"export {key}={shlex.quote(value)}" for key, value in options.environment.items()]
    parameters = {
        "job_name": name[:64],
        "comment": f"memcap study={name}",
        "time": options.time_minutes or minutes,
        "signal_delay_s": options.signal_s,
        "array_parallelism": options.at_once,
        "stderr_to_stdout": True,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus,
        "mem": None if options.memory_gib is None else f"{round(options.memory_gib * 1024)}MB",
        "setup": [*setup, *options.setup] or None,
        "additional_parameters": {
            key: value for key, value in {"requeue": True, **extra}.items() if value is not None
        },
    }
    return {key: value for key, value in parameters.items() if value is not None}


def job_name(folder: SubmissionFolder) -> str:
    """The study's name and the submission's number: a job with one of its ids that is called otherwise is another's.

    A Slurm whose state was wiped gives its ids again.
    """
    return f"{folder.path.parents[1].name[:55]}-{folder.path.name}"


def time_limit_minutes(wall_seconds: float) -> int:
    """A limit with room for a slow node; a task that meets it saves what it has, and is queued again."""
    return max(LEAST_MINUTES, round(3 * wall_seconds / 60))


def max_array_size() -> int:
    """How many tasks the cluster takes in one array."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _output(["scontrol", "show", "config"]) or "", re.M)
    return max(1, int(found[1]) if found else USUAL_MAX_ARRAY_SIZE)


class JobState(NamedTuple):
    """Slurm's word for a job, and for one that waits the reason (``Resources``, ``Priority``) where squeue has one."""

    state: str
    reason: str | None = None


def states(job_ids: Sequence[str], name: str | None = None) -> dict[str, str]:
    """The state of each job or array task by its id (``17_3``); see ``job_states``."""
    return {job: told.state for job, told in job_states(job_ids, name).items()}


def job_states(job_ids: Sequence[str], name: str | None = None) -> dict[str, JobState]:
    """What squeue or, once it is over, sacct tells of each job or array task, by its id.

    Empty where neither can be asked; a job that both have forgotten, or that is not called ``name``, is left out.
    """
    if not job_ids:
        return {}
    ids = ",".join(job_ids)
    told: dict[str, JobState] = {}
    accounting = (
        _output(["sacct", "-X", "-n", "-P", "-j", ids, "-o", "JobID,State,JobName"])
        if _has("sacct")
        else None
    )
    queue = _output(["squeue", "-h", "-r", "-j", ids, "-o", "%i|%T|%j|%r"]) if _has("squeue") else None
    for text in (accounting, queue):  # the queue knows better what is not over
        for line in (text or "").splitlines():
            job, state, called, reason = [*line.split("|", 3), "", "", ""][:4]
            waits = state == "PENDING" and reason not in ("", "None")
            found = JobState(state.split()[0] if state else "UNKNOWN", reason if waits else None)
            for one in _expanded(job) if name in (None, called) else []:
                told[one] = found
    return told


def reachable() -> bool:
    """Whether Slurm answers on this machine, so that a job that it does not name is one that it has forgotten."""
    return _has("squeue") and _output(["squeue", "-h", "-n", "memcap-none-has-this-name"]) is not None


def cancel(job_ids: Sequence[str]) -> str | None:
    """Cancels jobs and array tasks; the words of scancel where it could not."""
    if not job_ids:
        return None
    try:
        done = subprocess.run(
            ["scancel", *job_ids], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else " ".join(done.stderr.split())


def sbatch_words(error: BaseException) -> str | None:
    """What sbatch said, in one line; None for an error that is not its own."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ in ("FailedJobError", "FailedSubmissionError"):
            lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
            said = [line for line in lines if line.startswith("sbatch:")] or lines[-1:]
            return "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in said)
        cause = cause.__cause__ or cause.__context__
    return None


def _expanded(job: str) -> list[str]:
    """``17_[3-5,8%4]`` as the ids of its tasks."""
    found = re.fullmatch(r"(\d+)_\[([^%\]]+)(?:%\d+)?\]", job)
    if not found:
        return [job]
    ids: list[str] = []
    for part in found[2].split(","):
        first, _, last = part.partition("-")
        ids += [f"{found[1]}_{k}" for k in range(int(first), int(last or first) + 1)]
    return ids


def _has(command: str) -> bool:
    return shutil.which(command) is not None


def _output(command: Sequence[str]) -> str | None:
    """What a command prints; None where it cannot be run, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
