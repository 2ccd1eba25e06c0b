"""Per-sample gradients against a loop of single samples, and what is said of their conflict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from population_cases import (
    flat_gradient,
    leaves,
    plain_loss,
    small_population,
    training_tensors,
)
from torch import Tensor

from memcap.engines import BatchedEngine
from memcap.engines.batched import gradients
from memcap.errors import BadInput
from memcap.measures.conflict import (
    chain_gradient_norms,
    dense_gradient_norms,
    gradient_conflict,
    sample_gradient_norms,
)
from memcap.models.linear import Linear
from memcap.population import Population

RAGGED = (
    ("seed=3", "data.num_samples=5"),
    ("seed=1", "data.num_samples=14"),
    ("seed=2", "data.num_samples=9"),
)
DEEP = ("model=mlp", "model.depth=3", "model.bias=true", "model.residual=true", "model.output_dim=2")
CHAINS = {
    "linear": ("model=linear", "model.bias=false"),
    "linear bias": ("model=linear", "model.bias=true", "objective=squared_error"),
    "mlp": ("model=mlp", "activation=gelu"),
    "deep": (*DEEP, "activation=tanh"),
    "deep sin": (*DEEP, "activation=sin", "objective=squared_error"),
}
SPARSE = ("data=sparse_features", "model=autoencoder", "objective=squared_error", "data.batch_size=4")
OTHERS = {
    "autoencoder": (*SPARSE, "activation=gelu"),
    "untied": (*SPARSE, "model.tied=false", "model.bias=false", "activation=tanh"),
    "features": ("data=sparse_features", "model=mlp", "objective=squared_error", "activation=silu"),
}


def trained(*common: str, members: tuple[tuple[str, ...], ...] = RAGGED, steps: int = 5) -> Population:
    own = [(*o, f"activation.frequency={i + 1}") for i, o in enumerate(members)]
    population = small_population(common, own if "activation=sin" in common else members)
    BatchedEngine().advance(population, steps)
    return population


def weights_of(population: Population) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return 10 * torch.rand(population.parameters_MP.shape, generator=generator, dtype=torch.float64) ** 4


def looped(population: Population, member: int) -> Tensor:
    """Gradients [N, P] of one member's own samples, each by a backward pass of its own."""
    rows = []
    for inputs_D, target in zip(*training_tensors(population, member), strict=True):
        weights = leaves(population, member)
        plain_loss(population.configs[member], weights, inputs_D[None], target[None]).backward()
        rows.append(flat_gradient(weights))
    return torch.stack(rows)


@pytest.mark.parametrize("case", [*CHAINS, *OTHERS])
def test_norms_are_those_of_single_samples(case: str) -> None:
    members = RAGGED if case != "features" else (("seed=0",), ("seed=1",))
    population = trained(*(CHAINS | OTHERS)[case], members=members)
    weights_MP = weights_of(population)
    raw_MN, weighted_MN = sample_gradient_norms(population, population.training_set, weights_MP)
    assert weighted_MN is not None
    assert raw_MN.dtype == weighted_MN.dtype == torch.float64
    for member in range(len(population)):
        gradient_NP = looped(population, member)
        count = len(gradient_NP)
        weighted_N = (weights_MP[member] * gradient_NP.square()).sum(1)
        for found_N, expected_N in (
            (raw_MN[member, :count], gradient_NP.square().sum(1)),
            (weighted_MN[member, :count], weighted_N),
        ):
            torch.testing.assert_close(found_N, expected_N, rtol=1e-11, atol=1e-26)


@pytest.mark.parametrize("case", CHAINS)
def test_both_ways_agree_on_chains(case: str) -> None:
    population = trained(*CHAINS[case])
    weights_MP, batch = weights_of(population), population.training_set
    for found, expected in zip(
        chain_gradient_norms(population, batch, weights_MP),
        dense_gradient_norms(population, batch, weights_MP),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-28)


def test_weights_of_one_change_nothing_and_none_gives_none() -> None:
    for case in CHAINS["deep"], OTHERS["autoencoder"]:
        population = trained(*case)
        ones_MP = torch.ones_like(population.parameters_MP)
        raw_MN, weighted_MN = sample_gradient_norms(population, population.training_set, ones_MP)
        torch.testing.assert_close(weighted_MN, raw_MN, rtol=1e-13, atol=0)
        alone_MN, absent = sample_gradient_norms(population, population.training_set)
        assert absent is None
        assert torch.equal(alone_MN, raw_MN)


@pytest.mark.parametrize("case", ["deep sin", "autoencoder"])
def test_chunks_hold_no_more_than_they_may(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    population = trained(*(CHAINS | OTHERS)[case])
    batch = population.training_set
    expected, _ = dense_gradient_norms(population, batch)
    bytes_of_one = population.parameters_MP.numel() * 8
    forward, sizes = population.model.forward, list[int]()

    def watched(parameters: Any, inputs_MND: Tensor, activate: Any) -> Tensor:
        sizes.append(len(inputs_MND) // len(population))
        return forward(parameters, inputs_MND, activate)

    monkeypatch.setattr(population.model, "forward", watched)
    for max_bytes, most in ((1, 1), (4 * bytes_of_one - 1, 3), (4 * bytes_of_one, 4), (2**40, 14)):
        sizes.clear()
        raw_MN, _ = dense_gradient_norms(population, batch, max_bytes=max_bytes)
        assert (max(sizes), sum(sizes)) == (most, 14)
        torch.testing.assert_close(raw_MN, expected, rtol=1e-12, atol=1e-28)
    with pytest.raises(BadInput, match="max_bytes must be at least 1, got 0"):
        dense_gradient_norms(population, batch, max_bytes=0)


@pytest.mark.parametrize("case", ["deep sin", "autoencoder"])
def test_neighbours_do_not_matter(case: str) -> None:
    population = trained(*(CHAINS | OTHERS)[case])
    weights_MP = weights_of(population)
    expected = []
    for member, config in enumerate(population.configs):
        alone = Population([config])
        alone.parameters_MP = population.parameters_MP[member : member + 1]
        norms = sample_gradient_norms(alone, alone.training_set, weights_MP[member : member + 1])
        expected.append([values[0] for values in norms if values is not None])
    population.parameters_MP = population.parameters_MP.clone()
    population.parameters_MP[1] = torch.nan
    found = sample_gradient_norms(population, population.training_set, weights_MP)
    for values_MN, place in zip(found, range(2), strict=True):
        assert values_MN is not None
        assert values_MN[1].isnan().all()
        for member in (0, 2):
            alone_N = expected[member][place]
            torch.testing.assert_close(values_MN[member, : len(alone_N)], alone_N, rtol=1e-10, atol=1e-26)


@pytest.mark.parametrize("norms", [chain_gradient_norms, dense_gradient_norms])
def test_derivatives_too_small_to_square_in_float32_have_norms(norms: Any) -> None:
    population = trained("model=linear", "hardware.dtype=float32", members=(("seed=0",),), steps=0)
    population.parameters_MP = torch.zeros_like(population.parameters_MP)
    population.parameters_MP[:, 0] = 1.0
    batch = population.training_set.first(1)
    batch.inputs_MND = torch.tensor([[[60.0, 0, 0, 0]]])
    batch.targets = torch.zeros_like(batch.targets)
    # Logits (60, 0, 0) and label 0: δ = (0, t, t) with t = exp(−60), as 1 − p is 0 in float32.
    assert norms(population, batch)[0].item() == pytest.approx(60**2 * 2 * np.exp(-120), rel=1e-4)


def test_float32_is_close_to_float64() -> None:
    found, exact = (trained(*CHAINS["mlp"], f"hardware.dtype={d}", steps=0) for d in ("float32", "float64"))
    values = [sample_gradient_norms(p, p.training_set, weights_of(p)) for p in (found, exact)]
    for single, double in zip(*values, strict=True):
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("case", ["deep", "autoencoder"])
def test_conflict_is_that_of_the_stacked_gradients(case: str) -> None:
    population = trained(*(CHAINS | OTHERS)[case])
    batch = population.training_set
    mask_MN = batch.full_mask(batch.inputs_MND)
    memorized_MN = torch.arange(mask_MN.shape[1]) % 3 == 0
    raw_MN, _ = sample_gradient_norms(population, batch)
    total_M = gradients(population, batch).square().sum(1)
    found = gradient_conflict(raw_MN, total_M, mask_MN, memorized_MN.expand_as(mask_MN))
    assert set(found) == {"coherence", "cancellation", "cancellation_unmemorized", "noise_scale"}
    for member in range(len(population)):
        g_NP = looped(population, member)
        norms_N, mean_P = g_NP.norm(dim=1), g_NP.mean(0)
        expected = {
            "coherence": g_NP.sum(0).square().sum() / (len(g_NP) * g_NP.square().sum()),
            "cancellation": norms_N.mean(),
            "cancellation_unmemorized": norms_N[~memorized_MN[: len(g_NP)]].mean(),
            "noise_scale": (g_NP - mean_P).square().sum(1).mean() / mean_P.square().sum(),
        }
        for name, value in expected.items():
            assert found[name].dtype == torch.float64
            assert found[name][member].item() == pytest.approx(value.item(), rel=1e-9), name
    torch.testing.assert_close(found["noise_scale"], 1 / found["coherence"] - 1, rtol=1e-9, atol=1e-9)


def test_conflict_in_closed_form() -> None:
    """Equal gradients, opposite ones, orthogonal ones, none, and a neighbour that is NaN."""
    mask_MN = torch.tensor([[True, True, False]] * 5)
    squared_MN = torch.tensor([[4.0, 4, 9], [4, 4, torch.nan], [1, 1, 0], [0, 0, 0], [torch.nan, 1, 1]])
    total_M = torch.tensor([4.0, 0, 0.5, 0, torch.nan])
    found = gradient_conflict(squared_MN, total_M, mask_MN, None)
    assert "cancellation_unmemorized" not in found
    values = {name: value_M.tolist() for name, value_M in found.items()}
    nan = pytest.approx(float("nan"), nan_ok=True)
    assert values["coherence"] == [1, 0, 0.5, nan, nan]
    assert values["cancellation"] == [2, 2, 1, 0, nan]
    assert values["noise_scale"] == [0, float("inf"), 1, nan, nan]


def test_unmemorized_samples_only_and_none_left() -> None:
    squared_MN = torch.tensor([[4.0, 16, 64], [4, 16, 64]])
    mask_MN = torch.tensor([[True, True, False], [True, True, False]])
    memorized_MN = torch.tensor([[True, False, False], [True, True, False]])
    found = gradient_conflict(squared_MN, torch.ones(2), mask_MN, memorized_MN)["cancellation_unmemorized"]
    assert found[0] == 4
    assert found[1].isnan()


def test_a_chain_with_a_forward_pass_of_its_own_is_no_chain() -> None:
    class Doubled(Linear):
        def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Any) -> Tensor:
            return 2 * super().forward(parameters, inputs_MND, activate)

    population = trained("model=linear", "objective=squared_error")
    population.model = Doubled(population.model.config, population.model.data)
    raw_MN, _ = sample_gradient_norms(population, population.training_set)
    expected_MN, _ = dense_gradient_norms(population, population.training_set)
    assert torch.equal(raw_MN, expected_MN)


def test_the_population_is_left_as_it_was() -> None:
    population = trained(*CHAINS["mlp"])
    before_MP = population.parameters_MP.clone()
    with torch.no_grad():
        raw_MN, _ = sample_gradient_norms(population, population.training_set)
    assert not raw_MN.requires_grad
    assert not population.parameters_MP.requires_grad
    assert torch.equal(population.parameters_MP, before_MP)
