"""The life of one population: advance, measure, let members go when they end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from memcap.budget import BudgetMonitor, Ending
from memcap.config.run_config import RunConfig
from memcap.config.schema import BudgetConfig
from memcap.engines import Engine
from memcap.measures.end_of_run import Arrays
from memcap.measures.observation import Observer, Row
from memcap.measures.points import measurement_steps
from memcap.population import Population

LOOK_UP_S = 0.5  # between looks at whether a training is to be saved or stopped


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


class Training:
    """A population in the middle of its life, with what its measures and its budget remember of it."""

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.population = Population(configs)
        self.observer, self.monitor = Observer(self.population), BudgetMonitor(self.population)
        self.places = list(range(len(configs)))  # of the members that are left, in the list that began

    def keep(self, members: Sequence[int]) -> None:
        """Lets all but these members go; those that stay keep their places."""
        self.population, self.observer = self.population.keep(members), self.observer.keep(members)
        self.monitor.keep(members)
        self.places = [self.places[i] for i in members]

    def saved(self) -> dict[str, Any]:
        """All that the rest of the training depends on, beside the configurations: tensors and plain numbers."""
        return {
            "population": self.population.saved(),
            "observer": self.observer.saved(),
            "monitor": self.monitor.saved(),
        }

    @classmethod
    def restored(cls, configs: Sequence[RunConfig], saved: Mapping[str, Any]) -> Training:
        """The training that ``saved`` was of, given the same members; raises where it was of others."""
        training = cls(configs)
        training.population.restore(saved["population"])
        training.observer.restore(saved["observer"], training.population)
        training.monitor.restore(saved["monitor"])
        return training


class Pace:
    """How many steps to train at a time, for a look up about every ``LOOK_UP_S``."""

    def __init__(self) -> None:
        self.steps = 1

    def note(self, num_steps: int, seconds: float) -> None:
        """So many steps took so long."""
        if seconds > LOOK_UP_S:
            self.steps = max(self.steps // 2, 1)
        elif num_steps == self.steps and seconds < LOOK_UP_S / 2:
            self.steps *= 2


def train_population(
    configs: Sequence[RunConfig],
    engine: Engine,
    listener: Listener,
    *,
    training: Training | None = None,
    at_rest: Callable[[Training], None] | None = None,
) -> None:
    """Trains runs of one population key to their ends; the listener hears of each row and each end.

    Looks at the losses (``budget.check_every``) decide when members end; measurement points decide only what
    is seen. A member that ends between two points is measured once more, alone.

    A ``training`` that has begun is continued, bit for bit. ``at_rest`` is called with it about every half second, and
    only at steps at which all is done that belongs to them: it may save the training, and raise to stop it.
    """
    budget, pace = configs[0].budget, Pace()
    measured = set(measurement_steps(budget.steps, configs[0].measure.points))
    # What belongs to the step at which a training was saved was done before it was saved.
    after = -1 if training is None else training.population.step
    training = training or Training(configs)
    for step, is_checked in events(measured, budget, after=after):
        while training.population.step < step:
            if at_rest is not None:
                at_rest(training)
            _advance(training, engine, min(pace.steps, step - training.population.step), pace, listener)
        _look(training, step in measured, is_checked, listener)
        if not training.places:
            return


def _advance(training: Training, engine: Engine, num_steps: int, pace: Pace, listener: Listener) -> None:
    started = time.monotonic()
    engine.advance(training.population, num_steps)
    pace.note(num_steps, time.monotonic() - started)
    listener.on_advance(num_steps * len(training.population), 0)


def _look(training: Training, is_measured: bool, is_checked: bool, listener: Listener) -> None:
    """Takes the measures, and lets those members go that end here."""
    population, observer, places = training.population, training.observer, training.places
    rows = observer.observe(population) if is_measured else None
    for place, row in zip(places, rows or [], strict=False):
        listener.on_row(place, row)
    endings = training.monitor.check(population) if is_checked else [None] * len(places)
    if not any(endings):
        return
    _end_members(population, observer, places, endings, rows, listener)
    staying = [i for i, ending in enumerate(endings) if ending is None]
    left_steps = population.configs[0].budget.steps - population.step
    listener.on_advance(0, (len(places) - len(staying)) * left_steps)
    if staying:
        training.keep(staying)
    else:
        training.places = []


def events(measured: Collection[int], budget: BudgetConfig, *, after: int = -1) -> Iterator[tuple[int, bool]]:
    """Steps after one at which something is looked at, rising, each with whether the budget looks: never all at once
    in memory, since a budget may be long."""
    points = sorted(point for point in measured if point > after)
    check = (max(after, 0) // budget.check_every + 1) * budget.check_every
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
