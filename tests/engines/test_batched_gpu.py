"""What the batched engine does on a GPU: the processor's numbers, and no waiting within a block of steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from population_cases import small_population

from memcap.batch import Batch
from memcap.engines import BatchedEngine
from memcap.population import Population

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error")
CASES = {
    "full": ("model.bias=true",),
    "mini": ("data.batch_size=5", "optimizer.clip_norm=0.1"),
    "fresh": SPARSE,
    "bfloat16": ("hardware.dtype=float32", "hardware.autocast=bfloat16"),
}
MEMBERS = (("seed=0",), ("seed=1",), ("seed=2",))


@pytest.fixture
def sync_mode() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_for_the_device(case: str, sync_mode: None) -> None:
    """From a block's first batch to its last update; before, scalars are copied."""
    population = small_population((*CASES[case], "hardware.device=cuda"), MEMBERS)
    BatchedEngine().advance(population, 5)  # handles, workspaces and pinned memory are made here
    optimizer, batches, updates = population.optimizer, population.batches, []

    def watched(first_step: int, num_steps: int) -> Iterator[Batch] | None:
        torch.cuda.set_sync_debug_mode("error")  # batches are made when they are asked for
        return batches(first_step, num_steps)

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(optimizer, name)

        def update(self, *arguments: object) -> None:
            optimizer.update(*arguments)  # type: ignore[arg-type]
            updates.append(1)
            if len(updates) == 10:
                torch.cuda.set_sync_debug_mode("default")

    population.optimizer = Watched()  # type: ignore[assignment]
    population.batches = watched  # type: ignore[method-assign]
    BatchedEngine().advance(population, 10)
    assert len(updates) == 10


@pytest.mark.parametrize("case", ["full", "mini", "fresh"])
def test_the_numbers_of_the_processor(case: str) -> None:
    def trained(device: str) -> Population:
        population = small_population((*CASES[case], f"hardware.device={device}"), MEMBERS)
        BatchedEngine().advance(population, 10)
        return population

    torch.testing.assert_close(
        trained("cuda").parameters_MP.cpu(), trained("cpu").parameters_MP, rtol=1e-8, atol=1e-10
    )
