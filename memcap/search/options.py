"""Options of a search, ``search.*`` on the command line; values stand in conf/hydra/sweeper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from memcap.config.fields import build, ignored
from memcap.errors import BadInput

CAPACITY: Final = "capacity"
MEMORIZE_ALL: Final = "memorize_all"
SAMPLES: Final = "data.num_samples"
FRESH_OFFSET: Final = 1000  # seeds that measure start so far behind those that choose


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What is looked for, how sharply, and with how many seeds; the comments in conf/hydra/sweeper say more."""

    goal: str = ignored(choices=(CAPACITY, MEMORIZE_ALL))
    axis: str = ignored()
    tolerance: float = ignored(above=0)
    seeds: int = ignored(at_least=2)
    fresh_seeds: int = ignored(at_least=2)
    learning_rates: tuple[str, ...] | None = ignored()
    smallest: int | None = ignored(at_least=1)
    largest: int | None = ignored(at_least=1)
    budget_doublings: int = ignored(at_least=0)
    budget_tolerance: float = ignored(above=0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchOptions:
        """Checked options from plain values; raises BadInput with one line."""
        options = build(cls, values, "search")
        if options.tolerance > 1:
            raise BadInput(f"search.tolerance must be at most 1 (a factor of 2), got {options.tolerance:g}")
        if options.seeds > FRESH_OFFSET:
            raise BadInput(
                f"search.seeds must be at most {FRESH_OFFSET}, or they meet the fresh ones, got {options.seeds}"
            )
        if options.smallest and options.largest and options.smallest >= options.largest:
            raise BadInput(
                f"search.smallest must be below search.largest = {options.largest}, got {options.smallest}"
            )
        if options.goal == CAPACITY and options.axis != SAMPLES:
            raise BadInput(
                f"search.goal={CAPACITY} searches {SAMPLES}, got search.axis={options.axis}; for the smallest size use"
                f" search.goal={MEMORIZE_ALL}"
            )
        if options.goal == MEMORIZE_ALL and options.axis == SAMPLES:
            raise BadInput(
                f"search.goal={MEMORIZE_ALL} searches a size of the model, such as search.axis=model.width, got"
                f" {SAMPLES}; for the N where bits peak use search.goal={CAPACITY}"
            )
        if options.goal == MEMORIZE_ALL and options.budget_doublings:
            raise BadInput(f"search.budget_doublings needs search.goal={CAPACITY}; leave it 0")
        options.given_rates()
        return options

    def given_rates(self) -> list[float] | None:
        """``learning_rates`` as numbers, ascending; None where they follow from the optimizer's."""
        if self.learning_rates is None:
            return None
        try:
            rates = sorted({float(text) for text in self.learning_rates})
        except ValueError:
            rates = []
        if not rates or rates[0] <= 0 or rates[-1] == float("inf"):
            got = ",".join(self.learning_rates)
            raise BadInput(f"search.learning_rates must be a list of numbers above 0 or null, got [{got}]")
        return rates

    def choosing(self, seed: int) -> range:
        """The seeds that choose."""
        return range(seed, seed + self.seeds)

    def fresh(self, seed: int) -> range:
        """The seeds that measure, none of which chooses, also when more seeds choose another time."""
        return range(seed + FRESH_OFFSET, seed + FRESH_OFFSET + self.fresh_seeds)
