"""Rows of metrics against plain PyTorch, one network at a time."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from population_cases import (
    flat,
    flat_gradient,
    leaves,
    plain_loss,
    plain_outputs,
    small_config,
    small_population,
    train,
    training_tensors,
)
from torch import Tensor

from memcap.data import build_dataset
from memcap.engines import BatchedEngine
from memcap.measures.memory import mean_losses
from memcap.measures.observation import Observer
from memcap.models.model import unflatten
from memcap.population import Population

RAGGED = (
    ("seed=3", "data.num_samples=5"),
    ("seed=1", "data.num_samples=14"),
    ("seed=2", "data.num_samples=14"),
)
TRAINED = ("activation=tanh", "model.bias=true", "model.width=3", "optimizer.learning_rate=0.03")
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error")


@pytest.fixture
def trained() -> Population:
    population = small_population(TRAINED, RAGGED)
    BatchedEngine().advance(population, 15)
    return population


def top_of_dense_hessian(population: Population, member: int) -> float:
    """By plain autograd on a plain network's loss of flat float64 weights."""
    config, data = population.configs[member], training_tensors(population, member)

    def loss(parameters_P: Tensor) -> Tensor:
        named = unflatten(parameters_P[None], population.model.shapes)
        return plain_loss(config, {name: value[0] for name, value in named.items()}, *data)

    hessian_PP = torch.autograd.functional.hessian(loss, flat(leaves(population, member)))
    return torch.linalg.eigvalsh(hessian_PP)[-1].item()


@pytest.mark.parametrize(
    "common",
    [
        TRAINED,
        ("model=linear",),
        (*TRAINED, "objective=squared_error"),
        ("model.width=3", "activation=gelu", "model.depth=2", "model.residual=true"),
        (*SPARSE, "activation=silu", "data.batch_size=null"),
    ],
    ids=["mlp", "linear", "squared error", "residual", "autoencoder"],
)
@pytest.mark.parametrize("steps", [0, 15])
def test_sharpness_is_the_top_of_the_dense_hessian(common: tuple[str, ...], steps: int) -> None:
    population = small_population(common, RAGGED)
    BatchedEngine().advance(population, steps)
    rows = Observer(population).observe(population)
    for member, row in enumerate(rows):
        top = top_of_dense_hessian(population, member)
        value, residual = row["sharpness/top_eigenvalue"], row["sharpness/residual"]
        assert abs(value - top) <= residual + 1e-10 * abs(top)
        assert residual <= 2e-3 * abs(top)
        assert value <= top * (1 + 1e-10)


def test_a_warm_start_finds_the_top_after_more_training() -> None:
    population = small_population(TRAINED, RAGGED)
    observer = Observer(population)
    for _ in range(4):
        rows = observer.observe(population)
        for member, row in enumerate(rows):
            top = top_of_dense_hessian(population, member)
            assert abs(row["sharpness/top_eigenvalue"] - top) <= row["sharpness/residual"] + 1e-10 * top
        BatchedEngine().advance(population, 10)
    assert observer.curvature.vectors["lanczos"].norm(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_few_iterations_are_said_by_the_residual(trained: Population) -> None:
    config = small_config(*TRAINED, *RAGGED[2], "measure.lanczos_iterations=2")
    population = Population([config])
    row = Observer(population).observe(population)[0]
    assert row["sharpness/residual"] > 1e-3 * row["sharpness/top_eigenvalue"]
    assert row["sharpness/top_eigenvalue"] <= top_of_dense_hessian(population, 0)


def test_gradient_norms_are_those_of_the_plain_network(trained: Population) -> None:
    rows = Observer(trained).observe(trained)
    for member, config in enumerate(trained.configs):
        weights = leaves(trained, member)
        plain_loss(config, weights, *training_tensors(trained, member)).backward()
        row = rows[member]
        assert row["gradients/norm"] == pytest.approx(flat_gradient(weights).norm().item(), rel=1e-10)
        for layer in ("hidden1", "output", "head"):
            own = {name: value for name, value in weights.items() if name.startswith(f"{layer}.")}
            assert len(own) == 2
            expected = flat_gradient(own).norm().item()
            assert row[f"gradients/norm/{layer}"] == pytest.approx(expected, rel=1e-10)


def test_evaluation_sets_are_measured_by_the_same_network(trained: Population) -> None:
    rows = Observer(trained).observe(trained)
    for member, config in enumerate(trained.configs):
        for name, samples in build_dataset(config).evaluation().items():
            inputs_ND, labels_N = torch.from_numpy(samples.inputs_ND), torch.from_numpy(samples.targets_N)
            outputs_NV = plain_outputs(config, leaves(trained, member), inputs_ND)
            nats_N = F.cross_entropy(outputs_NV, labels_N, reduction="none").detach()
            bits_N = math.log2(3) - nats_N / math.log(2)
            row = rows[member]
            assert row[f"eval/{name}/loss_nats"] == pytest.approx(nats_N.mean().item(), rel=1e-10)
            assert row[f"eval/{name}/accuracy"] == (outputs_NV.argmax(1) == labels_N).double().mean().item()
            assert row[f"eval/{name}/bits"] == pytest.approx(bits_N.sum().item(), rel=1e-9, abs=1e-9)
            error = len(bits_N) ** 0.5 * bits_N.std().item()
            assert row[f"eval/{name}/bits_standard_error"] == pytest.approx(error, rel=1e-9)


def test_a_network_that_says_nothing_has_no_bits_at_all() -> None:
    population = small_population(("model.initialization_scale=0", "measure.sharpness=false"), RAGGED)
    for row in Observer(population).observe(population):
        assert row["train/loss_nats"] == pytest.approx(math.log(3), rel=1e-14)
        for name in ("memory/bits", "eval/null/bits", "eval/test/bits", "eval/null/bits_standard_error"):
            assert row[name] == pytest.approx(0, abs=1e-12), name


def test_nothing_is_memorized_of_data_never_seen() -> None:
    common = ("measure.sharpness=false", "model.width=16", "budget.steps=150", "optimizer.learning_rate=0.03")
    members = [(f"seed={seed}", f"data.num_samples={20 + seed}") for seed in range(12)]
    recorder = train([small_config(*common, *own) for own in members])
    excess = []
    for member in range(12):
        row = recorder.ends[member].row
        # What the network learnt of its own samples is worth nothing on others, and false confidence costs.
        assert row["memory/bits"] > 20
        assert row["eval/null/bits"] <= 4 * row["eval/null/bits_standard_error"]
        assert row["eval/test/bits"] <= 4 * row["eval/test/bits_standard_error"]
        spread = math.hypot(row["eval/null/bits_standard_error"], row["eval/test/bits_standard_error"])
        excess.append((row["eval/null/bits"] - row["eval/test/bits"]) / spread)
    # The two unseen sets are draws of one law: their differences, in standard errors, are noise around 0.
    assert abs(sum(excess) / 12) < 4 / 12**0.5
    assert max(map(abs, excess)) < 4


def test_mean_losses_are_taken_in_float64_without_the_padding() -> None:
    population = small_population(("hardware.dtype=float32",), RAGGED)
    batch = population.training_set
    loss_MN = torch.full((3, 14), 1 / 3, dtype=torch.float32)
    loss_MN[0, 5:] = torch.nan
    mean_M = mean_losses(loss_MN, batch)
    assert mean_M.dtype == torch.float64
    assert mean_M.tolist() == [pytest.approx(float(torch.tensor(1 / 3)), rel=1e-15)] * 3


def test_observing_changes_nothing_of_the_population(trained: Population) -> None:
    before_MP = trained.parameters_MP.clone()
    state = {name: value.clone() for name, value in trained.state.items()}
    first, second = Observer(trained).observe(trained), Observer(trained).observe(trained)
    assert first == second
    assert torch.equal(trained.parameters_MP, before_MP)
    assert not trained.parameters_MP.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in trained.state.items())


def test_kept_members_go_on_with_what_was_theirs() -> None:
    population = small_population(TRAINED, RAGGED)
    observer = Observer(population)
    first = observer.observe(population)
    population.parameters_MP *= 100
    population.step = 1
    kept, watcher = population.keep([2, 0]), observer.keep([2, 0])
    rows = watcher.observe(kept)
    for row, member in zip(rows, (2, 0), strict=True):
        assert row["memory/bits"] < first[member]["memory/bits"]
        assert row["memory/bits_best"] == first[member]["memory/bits"]
    arrays = [own["samples"] for own in watcher.end(kept)[1]]
    assert [len(own["initial_loss"]) for own in arrays] == [14, 5]
    for own, member in zip(arrays, (2, 0), strict=True):
        assert own["initial_loss"].mean() == pytest.approx(first[member]["train/loss_nats"], rel=1e-12)
        assert own["final_loss"].mean() > own["initial_loss"].mean()


def test_a_nan_member_has_nan_bits_and_nobody_else(trained: Population) -> None:
    expected = Observer(trained).observe(trained)
    trained.parameters_MP[1] = torch.nan
    rows = Observer(trained).observe(trained)
    for name in (
        "train/loss_nats",
        "memory/bits",
        "memory/bits_best",
        "gradients/norm",
        "sharpness/top_eigenvalue",
    ):
        assert math.isnan(rows[1][name]), name
        for member in (0, 2):
            assert rows[member][name] == pytest.approx(expected[member][name], rel=1e-8)


def test_counts_are_whole_numbers(trained: Population) -> None:
    row = Observer(trained).observe(trained)[0]
    assert isinstance(row["train/step"], int)
    assert isinstance(row["memory/memorized_samples"], int)
    assert {type(value) for value in row.values()} == {int, float}


def test_squared_error_on_features_has_neither_bits_nor_accuracy() -> None:
    population = small_population((*SPARSE, "activation=tanh"), (("seed=0",), ("seed=1",)))
    row = Observer(population).observe(population)[0]
    assert {"train/loss_mse", "eval/test/loss_mse", "gradients/norm/encoder"} <= set(row)
    assert not [name for name in row if name.startswith("memory/") or "bits" in name or "nats" in name]
    assert not [name for name in row if "accuracy" in name or name == "train/exposures"]
    assert set(Observer(population).end(population)[1][0]["samples"]) == {"final_loss"}
