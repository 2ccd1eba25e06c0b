"""Trains the members of a population one by one, each in the cache of the core that takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from memcap.config.run_config import RunConfig
from memcap.data.order import batch_indices
from memcap.engines.fused.layout import layout
from memcap.engines.fused.machine_code import as_c, kernel_of
from memcap.engines.fused.registers import aligned
from memcap.engines.fused.scalars import STEPS_PREPARED, StepScalars
from memcap.engines.fused.targets import targets_of
from memcap.engines.fused.team import Team
from memcap.engines.threads import threads_over_members
from memcap.models.chain import Chain
from memcap.population import Population

# Work that is done without a look at Ctrl-C, in floating-point operations: about a quarter of a second of one core.
OPERATIONS_AT_ONCE = 1e10
INDICES_AT_ONCE = 2**23  # of the samples of mini-batches, 8 bytes each


class FusedEngine:
    """Forward, backward and update of a member in one compiled loop; members are spread over threads.

    What a member computes depends on nothing but itself: its bits are the same alone, beside others and with any
    number of threads.
    """

    name: ClassVar[str] = "fused"

    def __init__(self, num_threads: int = 1) -> None:
        self.num_threads = num_threads
        self.scalars = StepScalars()
        self.team = Team(num_threads)
        self._members: list[Member] = []

    @classmethod
    def prepared(cls, configs: Sequence[RunConfig]) -> FusedEngine:
        """The engine for a population, with its kernel built."""
        for config in configs:
            kernel_of(config)
        return cls(threads_over_members(configs))

    def advance(self, population: Population, num_steps: int) -> None:
        """``num_steps`` steps in place; however a training is split into calls, the bits are the same."""
        end = population.step + num_steps
        members = self._members_of(population)
        while population.step < end:
            count = min(end - population.step, _steps_at_once(population))
            calls = [member.steps(self.scalars.of(population, member.place, count)) for member in members]
            self.team.do(calls, self.num_threads)
            population.step += count

    def _members_of(self, population: Population) -> list[Member]:
        """What was prepared for the last call, where it was of the same population."""
        last = self._members[0] if self._members else None
        if last is None or last.population is not population or last.samples is not population.training_set:
            self._members = [Member(population, place) for place in range(len(population))]
        return self._members


class Member:
    """One member of a population, as the kernel needs it."""

    def __init__(self, population: Population, place: int, *, wants_loss: bool = False) -> None:
        self.population, self.place = population, place
        self.config = population.configs[place]
        self.num_samples = int(population.training_set.counts_M[place])
        self.kernel = kernel_of(self.config, wants_loss=wants_loss)
        self.samples = population.training_set
        self.inputs_ND = np.ascontiguousarray(self.samples.inputs_MND[place].numpy())
        self.dtype = self.inputs_ND.dtype
        self.clip_norm = float(self.config.optimizer.clip_norm or 0.0)
        targets_MNF, importance_MF = targets_of(population, self.samples, slice(place, place + 1))
        self.targets_NF, self.importance_F = targets_MNF[0], importance_MF[0]
        assert isinstance(population.model, Chain)
        self.layers, self.places = layout(
            population.model.layers,
            bias=population.model.config.bias,
            num_operations=len(self.kernel.program.operations),
            samples=self.config.data.batch_size or self.num_samples,
            num_targets=self.targets_NF.shape[1],
            itemsize=self.dtype.itemsize,
        )
        self.order_1N = np.arange(self.num_samples)[None]
        self.arguments = self._arguments()

    def steps(self, scalars_KC: np.ndarray) -> Callable[[], np.ndarray]:
        """What trains the next K steps in place; it returns the scratch array."""
        order = self._order(len(scalars_KC))
        steps = (order, len(order), self.clip_norm, scalars_KC, scalars_KC.shape[1], len(scalars_KC))

        def run() -> np.ndarray:
            scratch, rows = aligned(self.places.size, self.dtype), self._rows()
            for place, row in rows.items():
                scratch[place : place + len(row)] = row
            self.kernel.train(as_c(scratch), *self.arguments, *map(as_c, steps))
            for place, row in rows.items():
                row[:] = scratch[place : place + len(row)]
            return scratch

        return run

    def _arguments(self) -> list[Any]:
        """What is the same at every call."""
        program = self.kernel.program
        arguments = (
            np.array(self.places), self.layers, len(self.layers),
            program.operations, program.numbers, len(program.operations), self.kernel.program_addresses,
            self.kernel.addresses,
            self.inputs_ND, self.targets_NF, self.targets_NF.shape[1], self.importance_F,
        )  # fmt: skip
        return [as_c(value) for value in arguments]

    def _rows(self) -> dict[int, np.ndarray]:
        """Parameters and state by their places in the scratch array."""
        population, places = self.population, self.places
        if population.state is None:
            raise ValueError("the optimizer's state is not known: these weights can be measured, not trained")
        tensors = [population.parameters_MP, *population.state.values()]  # in the optimizer's order
        at = (places.parameters, places.first_state, places.second_state)
        return {place: tensor[self.place].numpy() for place, tensor in zip(at, tensors, strict=False)}

    def _order(self, num_steps: int) -> np.ndarray:
        """The samples of each step [K, B], or all of them [1, N]."""
        batch_size = self.config.data.batch_size
        if batch_size is None:
            return self.order_1N
        step = self.population.step
        return batch_indices(self.config.seed, step, num_steps, self.num_samples, batch_size)


def _steps_at_once(population: Population) -> int:
    """So many that the program soon hears of Ctrl-C, and no more than the scalars that are prepared together."""
    samples = max(config.data.batch_size or config.data.num_measured for config in population.configs)
    operations = 6 * population.parameters_MP.numel() * samples
    most = min(OPERATIONS_AT_ONCE / operations, INDICES_AT_ONCE / (len(population) * samples))
    return min(max(int(most), 1), STEPS_PREPARED - population.step % STEPS_PREPARED)
