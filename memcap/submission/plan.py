"""Cells into tasks: what trains together stays together, and a task takes about as long as was asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from memcap.config.cell import Cell
from memcap.config.identity import population_key
from memcap.submission.cost import CostModel


@dataclasses.dataclass(frozen=True)
class PlannedTask:
    """Cells that one process trains, one population after the other, with the core-seconds predicted for them."""

    cells: tuple[Cell, ...]
    core_seconds: float

    def wall_seconds(self, cpus: int) -> float:
        """With members spread over so many cores."""
        return self.core_seconds / max(1, min(cpus, len(self.cells)))


def plan(cells: Sequence[Cell], model: CostModel, *, target_core_seconds: float) -> list[PlannedTask]:
    """Tasks of about ``target_core_seconds`` each, none empty, in the order of the sweep.

    Cells of one population go into a task side by side, sorted by N as ``memcap.grouping`` sorts them, so that a cut
    between two tasks parts a population at most once. A cell that alone takes longer is a task of its own.
    """
    tasks: list[PlannedTask] = []
    taken: list[Cell] = []
    seconds = 0.0
    for cell in _ordered(cells):
        cost = model.seconds(cell.config)
        if taken and seconds + cost > target_core_seconds:
            tasks.append(PlannedTask(tuple(taken), seconds))
            taken, seconds = [], 0.0
        taken.append(cell)
        seconds += cost
    if taken:
        tasks.append(PlannedTask(tuple(taken), seconds))
    return tasks


def _ordered(cells: Sequence[Cell]) -> Iterator[Cell]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(population_key(cell.config), []).append(cell)
    for group in groups.values():
        yield from sorted(group, key=lambda cell: cell.config.data.num_measured)
