"""What is measured once, at the end: samples, rounding."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from population_cases import small_population

from memcap.engines import BatchedEngine
from memcap.measures.observation import Observer
from memcap.measures.rounding import rounded
from memcap.population import Population

TRAINED = ("activation=tanh", "model.width=6", "optimizer.learning_rate=0.03")
RAGGED = (("seed=3", "data.num_samples=9"), ("seed=1", "data.num_samples=14"))


@pytest.fixture
def observed() -> tuple[Population, Observer]:
    population = small_population(TRAINED, RAGGED)
    observer = Observer(population)
    observer.observe(population)
    BatchedEngine().advance(population, 40)
    return population, observer


def test_samples_with_their_correlations(observed: tuple[Population, Observer]) -> None:
    population, observer = observed
    rows, arrays = observer.end(population)
    for row, own in zip(rows, arrays, strict=True):
        samples = own["samples"]
        initial, final = samples["initial_loss"], samples["final_loss"]
        assert row["samples/initial_final_correlation"] == pytest.approx(np.corrcoef(initial, final)[0, 1])
        by_rank = scipy.stats.spearmanr(initial, final).statistic
        assert row["samples/initial_final_rank_correlation"] == pytest.approx(by_rank)
        by_rank = scipy.stats.spearmanr(samples["alignment"], final).statistic
        assert row["samples/alignment_final_rank_correlation"] == pytest.approx(by_rank)
        assert (samples["margin"] > 0).tolist() == samples["correct"].tolist()


def test_rounded_weights_are_scored_like_any_others(observed: tuple[Population, Observer]) -> None:
    population, observer = observed
    rows, _ = observer.end(population)
    last = observer.observe(population)
    for name in ("bf16", "int8", "int4"):
        coarse_MP = rounded(population.parameters_MP, population.model.shapes, name)
        loss_M = population.losses(coarse_MP, population.training_set)
        for member, row in enumerate(rows):
            assert row[f"rounding/{name}/loss_nats"] == pytest.approx(loss_M[member].item(), rel=1e-12)
            count = population.configs[member].data.num_measured
            bits = count * (np.log2(3) - loss_M[member].item() / np.log(2))
            assert row[f"rounding/{name}/bits"] == pytest.approx(max(bits, 0), rel=1e-12)
    for row, whole in zip(rows, last, strict=True):
        assert abs(row["rounding/bf16/bits"] - whole["memory/bits"]) < 0.05 * whole["memory/bits"]
    assert torch.equal(observed[0].parameters_MP, population.parameters_MP)


def test_bits_of_nonsense_are_zero() -> None:
    population = small_population(TRAINED, RAGGED)
    population.parameters_MP *= 1e3
    rows, _ = Observer(population).end(population)
    assert [row["rounding/int4/bits"] for row in rows] == [0.0, 0.0]


def test_labels_are_needed_for_margins_only() -> None:
    population = small_population(
        ("data=sparse_features", "model=autoencoder", "objective=squared_error"), (("seed=0",), ("seed=1",))
    )
    rows, arrays = Observer(population).end(population)
    assert set(arrays[0]["samples"]) == {"final_loss"}
    assert set(rows[0]) == {f"rounding/{name}/loss_mse" for name in ("bf16", "int8", "int4")}
