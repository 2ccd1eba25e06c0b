"""A member's bits depend on the member alone, on the fused engine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from population_cases import small_config

from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine
from memcap.engines.fused.engine import FusedEngine
from memcap.engines.fused.scalars import STEPS_PREPARED
from memcap.population import Population

COMMON = (
    ("activation=silu", "model.bias=true", "optimizer.clip_norm=1", "schedule=cosine"),
    ("model.depth=2", "data.batch_size=6", "optimizer=sgd", "objective=squared_error"),
    ("model=linear", "optimizer=adamw", "optimizer.weight_decay=0.1"),
)
STEPS = 300


def configs(common: Sequence[str], dtype: str) -> list[RunConfig]:
    own = enumerate([(14, 0.01), (600, 0.003), (33, 0.02), (9, 0.001)])
    common = (*common, f"hardware.dtype={dtype}")
    return [
        small_config(*common, f"seed={s}", f"data.num_samples={n}", f"optimizer.learning_rate={rate}")
        for s, (n, rate) in own
    ]


def trained(members: Sequence[RunConfig], threads: int = 1, splits: Sequence[int] = (STEPS,)) -> Population:
    population = Population(members)
    for count in splits:
        FusedEngine(threads).advance(population, count)
    return population


def assert_equal_bits(found: Population, place: int, alone: Population) -> None:
    assert torch.equal(found.parameters_MP[place], alone.parameters_MP[0])
    for name, value in alone.state.items():
        assert torch.equal(found.state[name][place], value[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("common", COMMON)
def test_alone_among_others_shuffled_threaded_and_split(common: Sequence[str], dtype: str) -> None:
    members = configs(common, dtype)
    alone = [trained([member]) for member in members]
    together = trained(members)
    shuffled = trained(members[::-1])
    threaded = trained(members, threads=3)
    split = trained(members, splits=(1, 254, 2, 43))
    for place, one in enumerate(alone):
        assert one.parameters_MP.isfinite().all()
        for population in (together, threaded, split):
            assert_equal_bits(population, place, one)
        assert_equal_bits(shuffled, len(members) - 1 - place, one)


@pytest.mark.parametrize("common", COMMON)
def test_split_where_blocks_of_prepared_scalars_meet(common: Sequence[str]) -> None:
    members = configs((*common, f"budget.steps={STEPS_PREPARED + 100}"), "float64")[:2]
    found = []
    for splits in ((40,), (10, 30), (9, 1, 1, 29)):
        population = Population(members)
        population.step = STEPS_PREPARED - 10
        engine = FusedEngine()
        for count in splits:
            engine.advance(population, count)
        assert population.step == STEPS_PREPARED + 30
        found.append(population.parameters_MP)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    batched = Population(members)
    batched.step = STEPS_PREPARED - 10
    BatchedEngine().advance(batched, 40)
    assert torch.allclose(found[0], batched.parameters_MP, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("common", COMMON)
def test_beside_one_that_is_nan_and_one_that_diverges(common: Sequence[str], dtype: str) -> None:
    members = configs(common, dtype)
    alone = [trained([member]) for member in members]
    population = Population(members)
    population.parameters_MP[1] = torch.nan
    population.parameters_MP[2] *= torch.inf
    FusedEngine(2).advance(population, STEPS)
    for place in (0, 3):
        assert_equal_bits(population, place, alone[place])
    assert population.parameters_MP[1].isnan().all()
    assert not population.parameters_MP[2].isfinite().any()


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "tanh", "sin", "identity"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_seen(activation: str, dtype: str) -> None:
    scale = "1e30" if dtype == "float32" else "1e200"
    overrides = (f"activation={activation}", f"hardware.dtype={dtype}", f"model.initialization_scale={scale}")
    population = Population([small_config(*overrides)])
    FusedEngine().advance(population, 1)
    assert not population.parameters_MP.isfinite().all()
    assert not population.scores(population.training_set).loss_MN.isfinite().all()


def test_members_that_leave_change_nothing_for_those_that_stay() -> None:
    members = configs(COMMON[0], "float64")
    population = trained(members, splits=(10,)).keep([1, 3])
    FusedEngine(2).advance(population, STEPS - 10)
    for place, member in enumerate((members[1], members[3])):
        assert_equal_bits(population, place, trained([member]))
