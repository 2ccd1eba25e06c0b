"""Members that end leave the batch at once, and nobody notices."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from population_cases import Recorder, small_config, train

from memcap.engines import BatchedEngine
from memcap.population import Population
from memcap.training import train_population

COMMON = (
    "budget=until_memorized",
    "budget.steps=200",
    "budget.check_every=10",
    "budget.stop=memorized",
    "optimizer.learning_rate=0.02",
    "model.width=12",
)
# One sample is memorized before three, and fourteen not at all at that rate.
OWN = (
    ("seed=0", "data.num_samples=14", "optimizer.learning_rate=1e-5"),
    ("seed=1", "data.num_samples=3"),
    ("seed=2", "data.num_samples=1", "optimizer.learning_rate=0.1"),
)


class Counting(BatchedEngine):
    """Notes how many members it has trained, and to which step."""

    name: ClassVar[str] = "counting"

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def advance(self, population: Population, num_steps: int) -> None:
        super().advance(population, num_steps)
        self.calls.append((population.step, len(population)))


@pytest.mark.parametrize("batching", [(), ("data.batch_size=1",)], ids=["full", "mini"])
def test_who_ends_is_trained_no_further_and_the_others_are_the_same(batching: tuple[str, ...]) -> None:
    configs = [small_config(*COMMON, *own, *batching) for own in OWN]
    engine, together = Counting(), Recorder()
    train_population(configs, engine, together)
    ends = {member: result.steps for member, result in together.ends.items()}
    assert ends[2] < ends[1] < ends[0] == 200
    assert engine.calls[-1] == (200, 1)
    for step, num_members in engine.calls:
        assert num_members == sum(step <= end for end in ends.values())
    for member, config in enumerate(configs):
        alone = train([config]).ends[0]
        assert alone.steps == ends[member]
        for name, values in alone.arrays["weights"].items():
            np.testing.assert_allclose(together.ends[member].arrays["weights"][name], values, rtol=1e-8)
