"""What every engine is to the rest of the program."""

from __future__ import annotations

from typing import ClassVar, Protocol

from memcap.population import Population


class Engine(Protocol):
    """Trains a population in place."""

    name: ClassVar[str]

    @property
    def num_threads(self) -> int:
        """Processor threads that it trains with."""

    def advance(self, population: Population, num_steps: int) -> None:
        """``num_steps`` optimizer steps for every member, with the schedule of its own; no measurement."""
