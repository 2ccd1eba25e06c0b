"""A sweep from its cells to their outcomes: what is finished is skipped, the rest trains together."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from memcap.config.cell import Cell
from memcap.config.identity import study_name
from memcap.errors import BadInput, Interrupted
from memcap.machine import check_machine
from memcap.outcome import CellOutcome
from memcap.records.progress import Progress


class Part(NamedTuple):
    """A share of a study: its name, and who is told where to look at its progress."""

    name: str
    on_start: Callable[[Callable[[], Progress]], None]


SHARED = ("study", "force", "fail_fast", "max_attempts", "tracking", "paths")


def train_cells(
    cells: Sequence[Cell], axes: Sequence[str] = (), command: str | None = None, part: Part | None = None
) -> list[CellOutcome]:
    """Trains what is not finished and returns an outcome for each cell, in order.

    ``part``: these cells are a share of a study that others train too, and that is listed already.

    Raises BadInput before anything is written, and KeyboardInterrupt or Interrupted after a sweep that was
    stopped has been closed: finished runs stay, the same command goes on from there.
    """
    check_shared(cells)
    check_machine(cells)
    first = cells[0].config
    name = first.study or study_name(first, None, list(axes))
    wait_passively()
    from memcap.study_run import StudyRun

    with sigterm_as_exception():
        run = StudyRun(
            cells,
            axes=axes,
            study=name,
            command=command or command_line(),
            part=None if part is None else part.name,
        )
        if part is not None:
            part.on_start(lambda: run.ledger.progress)
        return run.run()


def check_shared(cells: Sequence[Cell]) -> None:
    """Raises BadInput where cells differ in what a sweep can have only one of."""
    for name in SHARED:
        values = {repr(getattr(cell.config, name)) for cell in cells}
        if len(values) > 1:
            raise BadInput(f"{name} cannot be swept: a sweep has one; got {len(values)} different values")


def wait_passively() -> None:
    """Lets idle threads sleep; has no effect once torch is imported.

    OpenMP's threads spin while they wait. When anything else wants the cores, a step that takes 0.25 ms alone
    was seen to take 95 ms; asleep, 0.44 ms. On an idle machine the two differ by a few percent.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def command_line() -> str:
    """The line that started this process, as it was typed."""
    import shlex

    return shlex.join(["python", *sys.orig_argv[1:]])


@contextlib.contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """While it lasts, SIGTERM ends the work as Ctrl-C does; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
