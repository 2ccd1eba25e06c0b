"""The life of one population: advance, measure, let members go when they end."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from memcap.budget import BudgetMonitor, Ending
from memcap.config.run_config import RunConfig
from memcap.config.schema import BudgetConfig
from memcap.engines import Engine
from memcap.measures.end_of_run import Arrays
from memcap.measures.observation import Observer, Row
from memcap.measures.points import measurement_steps
from memcap.population import Population


@dataclasses.dataclass(frozen=True)
class MemberResult:
    """What is left of a member: how it ended, its last row with what is measured at the end only, and the
    arrays to keep, by the file's name and their own (``arrays["weights"]["head.weight"]``)."""

    ending: Ending
    steps: int
    row: Row
    arrays: Arrays
    data_fingerprint: str


class Listener(Protocol):
    """Told of everything that happens to the members of a population, by their place in it."""

    def on_row(self, member: int, row: Row) -> None:
        """A measurement was taken."""

    def on_end(self, member: int, result: MemberResult) -> None:
        """The member ended; it gets no more rows."""

    def on_advance(self, member_steps: int, skipped: int) -> None:
        """So many member-steps were trained; so many will not be, since members ended early."""


def train_population(configs: Sequence[RunConfig], engine: Engine, listener: Listener) -> None:
    """Trains runs of one population key to their ends; the listener hears of each row and each end.

    Looks at the losses (``budget.check_every``) decide when members end; measurement points decide only what
    is seen. A member that ends between two points is measured once more, alone.
    """
    budget = configs[0].budget
    population = Population(configs)
    observer, monitor = Observer(population), BudgetMonitor(population)
    places = list(range(len(configs)))
    measured = set(measurement_steps(budget.steps, configs[0].measure.points))
    for step, is_checked in events(measured, budget):
        num_steps = step - population.step
        engine.advance(population, num_steps)
        listener.on_advance(num_steps * len(population), 0)
        rows = observer.observe(population) if step in measured else None
        for place, row in zip(places, rows or [], strict=False):
            listener.on_row(place, row)
        endings = monitor.check(population) if is_checked else [None] * len(places)
        if not any(endings):
            continue
        _end_members(population, observer, places, endings, rows, listener)
        staying = [i for i, ending in enumerate(endings) if ending is None]
        listener.on_advance(0, (len(places) - len(staying)) * (budget.steps - step))
        if not staying:
            return
        population, observer = population.keep(staying), observer.keep(staying)
        monitor.keep(staying)
        places = [places[i] for i in staying]


def events(measured: Collection[int], budget: BudgetConfig) -> Iterator[tuple[int, bool]]:
    """Steps at which something is looked at, rising, each with whether the budget looks: never all at once in
    memory, since a budget may be long."""
    points, check = sorted(measured), budget.check_every
    while points or check < budget.steps:
        step = min([*points[:1], min(check, budget.steps)])
        is_checked = step == check or step == budget.steps
        yield step, is_checked
        if points and points[0] == step:
            points.pop(0)
        if step == check:
            check += budget.check_every


def _end_members(
    population: Population,
    observer: Observer,
    places: Sequence[int],
    endings: Sequence[Ending | None],
    rows: Sequence[Row] | None,
    listener: Listener,
) -> None:
    """Takes the last row and the arrays of those that end, and hands them over."""
    leaving = [i for i, ending in enumerate(endings) if ending is not None]
    part, watcher = population.keep(leaving), observer.keep(leaving)
    last_rows = [rows[i] for i in leaving] if rows else watcher.observe(part)
    end_rows, arrays = watcher.end(part)
    for k, i in enumerate(leaving):
        if not rows:
            listener.on_row(places[i], last_rows[k])
        ending = endings[i]
        assert ending is not None
        result = MemberResult(
            ending=ending,
            steps=part.step,
            row=last_rows[k] | end_rows[k],
            arrays=arrays[k] | _kept_weights(part, k),
            data_fingerprint=fingerprint(part, k),
        )
        listener.on_end(places[i], result)


def _kept_weights(population: Population, member: int) -> Arrays:
    records = population.configs[member].records
    if records.weights == "none" or population.model.num_parameters > records.weights_up_to:
        return {}
    return {"weights": population.member_parameters(member)}


def fingerprint(population: Population, member: int) -> str:
    """Sixteen hex digits of the SHA-256 of the member's training set, to see that two runs had equal data."""
    return population.datasets[member].training().fingerprint()
