"""The batched engine against one network in plain PyTorch with torch.optim."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from population_cases import (
    PLAIN_ACTIVATIONS,
    flat,
    flat_gradient,
    leaves,
    plain_loss,
    small_config,
    small_population,
    training_tensors,
)
from torch import Tensor

from memcap.config.run_config import RunConfig
from memcap.data.order import batch_indices
from memcap.engines import BatchedEngine
from memcap.engines.batched import STEPS_PREPARED, gradients
from memcap.population import Population

MEMBERS = (
    ("seed=0", "data.num_samples=14"),
    ("seed=1", "data.num_samples=9"),
    ("seed=2", "data.num_samples=12"),
)
NETWORKS = {
    "linear": ("model=linear",),
    "linear with bias": ("model=linear", "model.bias=true"),
    "mlp": ("model=mlp",),
    "mlp, bias, two layers": ("model=mlp", "model.bias=true", "model.depth=2", "model.output_dim=2"),
    # As wide as the input: no skip around the first layer all the same.
    "mlp, residual": ("model=mlp", "model.width=4", "model.depth=3", "model.residual=true"),
    "mlp, squared error": ("model=mlp", "objective=squared_error"),
}
AUTOENCODERS = {
    "tied": ("model.bias=true",),
    "tied, no bias": ("model.bias=false",),
    "untied": ("model.tied=false",),
    "untied, no importance": ("model.tied=false", "objective.use_importance=false"),
}
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error")


def assert_gradients_of_plain_networks(population: Population) -> None:
    gradients_MP = gradients(population, population.training_set)
    for member, config in enumerate(population.configs):
        weights = leaves(population, member)
        plain_loss(config, weights, *training_tensors(population, member)).backward()
        expected_P = flat_gradient(weights)
        assert expected_P.norm() > 0
        torch.testing.assert_close(gradients_MP[member], expected_P, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradient_is_that_of_one_plain_network(network: str) -> None:
    assert_gradients_of_plain_networks(small_population(NETWORKS[network], MEMBERS))


@pytest.mark.parametrize("activation", PLAIN_ACTIVATIONS)
def test_gradient_through_each_activation(activation: str) -> None:
    common = (f"activation={activation}", "model.depth=2", "model.bias=true")
    assert_gradients_of_plain_networks(small_population(common, MEMBERS))


def test_gradient_through_a_sine_with_the_frequency_of_each_member() -> None:
    members = [(*own, f"activation.frequency={f}") for own, f in zip(MEMBERS, (0.5, 3.0, -2.0), strict=True)]
    assert_gradients_of_plain_networks(small_population(("activation=sin",), members))


@pytest.mark.parametrize("variant", AUTOENCODERS)
def test_gradient_of_an_autoencoder(variant: str) -> None:
    common = (*SPARSE, "data.num_samples=10", *AUTOENCODERS[variant])
    members = [(f"seed={s}", f"data.importance_decay={d}") for s, d in enumerate((1.0, 0.5, 0.9))]
    population = small_population(common, members)
    # Biases start at zero, where a relu of an empty sample sits on its kink.
    population.parameters_MP += 0.01
    assert_gradients_of_plain_networks(population)


def cosine(config: RunConfig, step: int) -> float:
    schedule: Any = config.schedule
    warmup, floor, last = schedule.warmup_steps, schedule.floor, config.budget.steps - 1
    if step < warmup:
        return (step + 1) / warmup
    height = (1 + math.cos(math.pi * (step - warmup) / (last - warmup))) / 2
    return floor + (1 - floor) * height


def plain_training(config: RunConfig, batches_KB: Tensor | None = None) -> tuple[Tensor, list[float]]:
    """One run in plain PyTorch: final weights [P] and learning rates."""
    population = Population([config])
    weights = leaves(population, 0)
    inputs_ND, targets_N = training_tensors(population, 0)
    o: Any = config.optimizer
    if o.kind == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            weights.values(), lr=o.learning_rate, momentum=o.momentum, weight_decay=o.weight_decay
        )
    else:
        build = torch.optim.AdamW if o.kind == "adamw" else torch.optim.Adam
        betas = (o.beta1, o.beta2)
        optimizer = build(
            weights.values(), lr=o.learning_rate, betas=betas, eps=o.epsilon, weight_decay=o.weight_decay
        )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(config, step))
    rates = []
    for step in range(config.budget.steps):
        index = torch.arange(len(inputs_ND)) if batches_KB is None else batches_KB[step]
        optimizer.zero_grad()
        plain_loss(config, weights, inputs_ND[index], targets_N[index]).backward()
        if o.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights.values(), o.clip_norm)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return flat(weights), rates


TRAINED = ("activation=tanh", "schedule=cosine", "budget.steps=30", "model.bias=true")
TRAINED_MEMBERS = (
    ("seed=0", "data.num_samples=14", "optimizer.learning_rate=0.02", "optimizer.clip_norm=0.3"),
    ("seed=1", "data.num_samples=9", "schedule.warmup_steps=7", "optimizer.weight_decay=0.1"),
    ("seed=2", "data.num_samples=12", "schedule.floor=0.2", "optimizer.clip_norm=null"),
)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_thirty_steps_equal_plain_pytorch(optimizer: str) -> None:
    population = small_population((f"optimizer={optimizer}", *TRAINED), TRAINED_MEMBERS)
    start_MP = population.parameters_MP.clone()
    rates_KM = population.learning_rates(0, 30)
    BatchedEngine().advance(population, 30)
    for member, config in enumerate(population.configs):
        expected_P, rates = plain_training(config)
        torch.testing.assert_close(population.parameters_MP[member], expected_P, rtol=1e-9, atol=1e-12)
        assert rates_KM[:, member].tolist() == pytest.approx(rates, rel=1e-12, abs=1e-15)
        assert (expected_P - start_MP[member]).norm() > 1e-2 * start_MP[member].norm()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_mini_batches_equal_plain_pytorch(optimizer: str) -> None:
    common = (f"optimizer={optimizer}", *TRAINED, "data.batch_size=5")
    population = small_population(common, TRAINED_MEMBERS)
    BatchedEngine().advance(population, 30)
    for member, config in enumerate(population.configs):
        batches_KB = batch_indices(config.seed, 0, 30, config.data.num_measured, 5)
        expected_P, _ = plain_training(config, torch.from_numpy(batches_KB))
        torch.testing.assert_close(population.parameters_MP[member], expected_P, rtol=1e-9, atol=1e-12)


def test_clipping_was_at_work() -> None:
    clipped = small_config(*TRAINED, *TRAINED_MEMBERS[0])
    free_P, _ = plain_training(small_config(*TRAINED, *TRAINED_MEMBERS[0], "optimizer.clip_norm=null"))
    assert (plain_training(clipped)[0] - free_P).norm() > 1e-4


SPLITS = ((1, 2, 4, 7, 23, 23), (59, 1), (30, 30), (3,) * 20, (1,) * 60)


def assert_same_bits(first: Population, second: Population) -> None:
    assert first.step == second.step
    assert torch.equal(first.parameters_MP, second.parameters_MP)
    for name, state_MP in first.state.items():
        assert torch.equal(state_MP, second.state[name])


@pytest.mark.parametrize("num_members", [1, pytest.param(2, marks=pytest.mark.long), 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batching", [(), ("data.batch_size=5",)], ids=["full", "mini"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_where_a_training_is_cut_changes_no_bit(
    num_members: int, dtype: str, batching: tuple[str, ...], optimizer: str
) -> None:
    common = (f"optimizer={optimizer}", *TRAINED, *batching, f"hardware.dtype={dtype}", "budget.steps=60")
    configs = [small_config(*common, *own) for own in TRAINED_MEMBERS[:num_members]]
    whole = Population(configs)
    BatchedEngine().advance(whole, 60)
    for split in SPLITS:
        cut = Population(configs)
        for num_steps in split:
            BatchedEngine().advance(cut, num_steps)
        assert_same_bits(whole, cut)


def test_cut_at_and_around_the_steps_prepared_together() -> None:
    config = small_config("model=linear", "schedule=wsd", "budget.steps=600")
    whole = Population([config])
    BatchedEngine().advance(whole, 600)
    for first in (STEPS_PREPARED - 1, STEPS_PREPARED, STEPS_PREPARED + 1):
        cut = Population([config])
        BatchedEngine().advance(cut, first)
        BatchedEngine().advance(cut, 600 - first)
        assert_same_bits(whole, cut)


def test_fresh_batches_cut_anywhere_give_the_same_bits() -> None:
    configs = [small_config(*SPARSE, "budget.steps=12", f"seed={s}") for s in range(2)]
    whole, cut = Population(configs), Population(configs)
    BatchedEngine().advance(whole, 12)
    for num_steps in (1, 6, 5):
        BatchedEngine().advance(cut, num_steps)
    assert_same_bits(whole, cut)


def test_advancing_by_nothing_changes_nothing() -> None:
    population, untouched = small_population(TRAINED, MEMBERS), small_population(TRAINED, MEMBERS)
    BatchedEngine().advance(population, 0)
    assert_same_bits(population, untouched)


def test_float32_follows_float64() -> None:
    weights = []
    for dtype in ("float32", "float64"):
        population = small_population((*TRAINED, f"hardware.dtype={dtype}"), TRAINED_MEMBERS)
        BatchedEngine().advance(population, 30)
        assert str(population.parameters_MP.dtype) == f"torch.{dtype}"
        weights.append(population.parameters_MP.double())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-4)
