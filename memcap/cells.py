"""A sweep from its cells to their outcomes: what is finished is skipped, the rest trains together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from memcap.config.cell import Cell
from memcap.config.identity import study_name
from memcap.errors import BadInput
from memcap.interruption import heard
from memcap.machine import check_machine
from memcap.outcome import CellOutcome
from memcap.records.progress import Progress


class Part(NamedTuple):
    """A share of a study: its name, and who is told where to look at its progress."""

    name: str
    on_start: Callable[[Callable[[], Progress]], None]


SHARED = ("study", "force", "fail_fast", "max_attempts", "tracking", "paths", "checkpoint", "compare")


def train_cells(
    cells: Sequence[Cell],
    axes: Sequence[str] = (),
    command: str | None = None,
    *,
    usr2_stops: bool = False,
    part: Part | None = None,
) -> list[CellOutcome]:
    """Trains what is not finished and returns an outcome for each cell, in order.

    ``part``: these cells are a share of a study that others train too, and that is listed already.

    Raises BadInput before anything is written, and KeyboardInterrupt or Interrupted after a sweep that was
    stopped has been closed: finished runs stay, and the same command goes on from there, with the runs that trained
    from their checkpoint. SIGUSR2 saves one, or stops as SIGTERM does.
    """
    check_shared(cells)
    check_machine(cells)
    first = cells[0].config
    name = first.study or study_name(first, None, list(axes))
    wait_passively()
    from memcap.study_run import StudyRun

    with heard(usr2_stops=usr2_stops) as signals:
        run = StudyRun(
            cells,
            axes=axes,
            study=name,
            command=command or command_line(),
            signals=signals,
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
