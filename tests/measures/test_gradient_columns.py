"""Gradient conflict and updates of a population against plain loops over its samples and steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population_cases import small_population

from memcap.batch import Batch
from memcap.engines import BatchedEngine
from memcap.engines.batched import gradients, updated_parameters
from memcap.measures.observation import Observer, Row
from memcap.population import Population

TRAINED = ("activation=tanh", "model.width=3", "optimizer.learning_rate=0.03", "model.bias=true")
RAGGED = (("seed=3", "data.num_samples=5"), ("seed=1", "data.num_samples=14"))


def trained(*overrides: str) -> Population:
    population = small_population((*TRAINED, *overrides), RAGGED)
    BatchedEngine().advance(population, 15)
    return population


def one_by_one(population: Population, member: int, count: int) -> np.ndarray:
    """Gradients [N, P] of a member's first samples, each as the only sample of a training set."""
    alone, batch = population.keep([member]), population.training_set
    rows = []
    for sample in range(count):
        inputs, targets = (
            part[member, sample : sample + 1][None] for part in (batch.inputs_MND, batch.targets)
        )
        rows.append(gradients(alone, Batch(inputs, targets, torch.ones(1, dtype=torch.float64), None))[0])
    return torch.stack(rows).numpy()


def check(row: Row, prefix: str, gradients_NP: np.ndarray, unmemorized: np.ndarray) -> None:
    norms, mean = np.linalg.norm(gradients_NP, axis=1), gradients_NP.mean(0)
    coherence = mean @ mean / (norms**2).mean()
    assert row[f"{prefix}/coherence"] == pytest.approx(coherence, rel=1e-9)
    assert row[f"{prefix}/noise_scale"] == pytest.approx(gradients_NP.var(0).sum() / (mean @ mean), rel=1e-9)
    assert row[f"{prefix}/cancellation"] == pytest.approx(norms.mean(), rel=1e-9)
    expected = norms[unmemorized].mean() if unmemorized.any() else np.nan
    assert row[f"{prefix}/cancellation_unmemorized"] == pytest.approx(expected, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("cap", [4096, 7])
def test_conflict_is_that_of_the_samples_one_by_one(cap: int) -> None:
    population = trained(f"measure.max_samples={cap}")
    rows = Observer(population).observe(population)
    correct_MN = population.scores(population.training_set).correct_MN
    assert correct_MN is not None
    for member, row in enumerate(rows):
        count = min(cap, population.configs[member].data.num_measured)
        gradients_NP = one_by_one(population, member, count)
        unmemorized = ~correct_MN[member, :count].numpy()
        check(row, "gradients", gradients_NP, unmemorized)
        preconditioner_MP = population.preconditioner()
        assert preconditioner_MP is not None
        check(row, "gradients/preconditioned", gradients_NP / preconditioner_MP[member].numpy(), unmemorized)


@pytest.mark.parametrize(
    "overrides",
    [("optimizer=adam",), ("optimizer=adamw", "optimizer.weight_decay=0.1"), ("optimizer.clip_norm=0.01",),
     ("optimizer=sgd", "optimizer.momentum=0.9")],
    ids=["adam", "adamw", "clipped", "momentum"],
)  # fmt: skip
def test_the_update_is_the_one_that_training_takes_next(overrides: tuple[str, ...]) -> None:
    population = trained(*overrides)
    row = Observer(population).observe(population)[1]
    foreseen_MP = updated_parameters(population, gradients(population, population.training_set))
    before_MP = population.parameters_MP.clone()
    BatchedEngine().advance(population, 1)
    assert torch.equal(foreseen_MP, population.parameters_MP)
    change_P, old_P = (population.parameters_MP - before_MP)[1], before_MP[1]
    assert row["updates/weight_ratio"] == pytest.approx((change_P.norm() / old_P.norm()).item(), rel=1e-12)
    start = 0
    parts = {"hidden1": 4 * 3 + 3, "output": 3 * 4 + 4, "head": 4 * 3 + 3}
    for layer, size in parts.items():
        part = slice(start, start + size)
        expected = (change_P[part].norm() / old_P[part].norm()).item()
        assert row[f"updates/weight_ratio/{layer}"] == pytest.approx(expected, rel=1e-12)
        start += size


def test_measuring_an_update_changes_nothing() -> None:
    population, twin = trained(), trained()
    Observer(population).observe(population)
    for one in (population, twin):
        BatchedEngine().advance(one, 5)
    assert torch.equal(population.parameters_MP, twin.parameters_MP)


def test_weights_without_a_state_have_neither_updates_nor_a_preconditioner() -> None:
    population = trained()
    bare = population.with_parameters(population.parameters_MP)
    row = Observer(bare).observe(bare)[0]
    assert not [name for name in row if "precondition" in name or name.startswith("updates/")]
    with pytest.raises(ValueError, match="can be measured, not trained"):
        BatchedEngine().advance(bare, 1)


def test_a_tiny_preconditioner_is_no_infinite_weight() -> None:
    """Weights behind an input that is always 0 have D = ε (1 − β₁ᵗ), whose inverse square float32 does not hold."""
    common = ("activation=tanh", "hardware.dtype=float32", "optimizer.epsilon=1e-25")
    population = small_population(
        common, (("seed=3", "data.num_samples=5"), ("seed=1", "data.num_samples=14"))
    )
    population.training_set.inputs_MND[:, :, 0] = 0
    BatchedEngine().advance(population, 5)
    for row in Observer(population).observe(population):
        assert np.isfinite(row["gradients/preconditioned/norm"])
        assert 0 < row["gradients/preconditioned/coherence"] <= 1
