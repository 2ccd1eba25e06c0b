"""Workers on this machine, by submitit's local executor: each a process of its own, which outlives who started it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from memcap.errors import BadInput
from memcap.submission.folder import SubmissionFolder
from memcap.submission.options import LauncherOptions

A_YEAR_MINUTES = 365 * 24 * 60.0  # submitit ends a local job after a time


def num_workers(options: LauncherOptions) -> int:
    """``launcher.workers``, or one for each GPU that was asked for, or one for every two cores."""
    if options.workers is not None:
        return options.workers
    return options.gpus or max(1, num_cores() // 2)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_workers(folder: SubmissionFolder, options: LauncherOptions, slots: Sequence[int]) -> list[Any]:
    """submitit's jobs of so many workers, each of which takes tasks until none is left.

    Worker k sees GPU k alone where GPUs were asked for. The cores are shared out among all of them. Raises BadInput
    where the machine cannot start them.
    """
    import submitit

    from memcap.submission.worker import GPUS_GIVEN, work_through

    share = options.cpus or max(1, num_cores() // num_workers(options))
    jobs = []
    try:
        for slot in slots:
            executor = submitit.LocalExecutor(folder=folder.logs, python=options.python)
            executor.update_parameters(
                timeout_min=A_YEAR_MINUTES,
                stderr_to_stdout=True,
            )
            environment = {
                "OMP_NUM_THREADS": str(share),
                GPUS_GIVEN: visible_gpu(slot, options.gpus, os.environ.get("CUDA_VISIBLE_DEVICES")),
                **options.environment,
            }
            with _environment(environment), _deaf_to_ctrl_c(), _mute():
                jobs.append(executor.submit(work_through, str(folder.path.absolute())))
    except BaseException as error:
        stop_workers(jobs)
        if isinstance(error, OSError):
            raise BadInput(f"hydra/launcher=local cannot start a worker: {error}") from None
        raise
    return jobs


def visible_gpu(slot: int, gpus: int | None, inherited: str | None) -> str:
    """What worker ``slot`` may see: one of the first ``gpus`` that this process sees; without a number, all of them."""
    if gpus is None:
        return "all" if inherited is None else inherited
    seen = [str(k) for k in range(gpus)] if inherited is None else [g for g in inherited.split(",") if g]
    if len(seen) < gpus:
        raise BadInput(f"launcher.gpus={gpus}, but CUDA_VISIBLE_DEVICES={inherited} shows {len(seen)}")
    return seen[slot % gpus]


def stop_workers(jobs: Sequence[Any]) -> None:
    """Asks them to save what they have and to end, as SIGTERM does."""
    for job in jobs:
        with suppress(OSError, AttributeError):
            job._process.send_signal(signal.SIGTERM)  # to submitit's controller, which passes it on


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextmanager
def _mute() -> Iterator[None]:
    """What is started in here does not hold our output open: ``| tee`` and ``$(...)`` would wait for the workers."""
    null = os.open(os.devnull, os.O_RDWR)
    before = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        yield
    finally:
        for descriptor, ours in zip((1, 2), before, strict=True):
            os.dup2(ours, descriptor)
            os.close(ours)
        os.close(null)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started in here is deaf to SIGINT and SIGHUP, which a terminal sends to all processes of a command.

    submitit's controller would give its worker one second; who started them sends SIGTERM instead. The signals are
    blocked, which is inherited, and reach this process when it is over.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
