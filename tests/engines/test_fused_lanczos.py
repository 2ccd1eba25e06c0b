"""The largest eigenvalue by the fused engine: against dense matrices and against Lanczos' method in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from matrix_cases import top_eigenvalue
from population_cases import small_config, small_population
from torch import Tensor

from memcap.engines import BatchedEngine
from memcap.engines.fused import curvature
from memcap.engines.fused.curvature import Hessian, TopPairs
from memcap.measures.curvature import Curvature
from memcap.measures.krylov import FEWEST_PRODUCTS, rounding_noise
from memcap.measures.sharpness import SymmetricMatrix, dense_matrix, preconditioned
from memcap.population import Population

SAMPLES = (14, 9, 600)
MODELS = (
    ("activation=tanh", "model.width=7"),
    ("activation=gelu", "model.depth=2", "model.bias=true", "model.residual=true"),
    ("model=linear",),  # every eigenvalue of a squared error's Hessian is multiple
    ("model=linear", "objective=squared_error"),
    ("model.width=1",),
)


def members(*common: str, samples: Sequence[int] = SAMPLES, steps: int = 3) -> Population:
    own = [(f"seed={seed}", f"data.num_samples={count}") for seed, count in enumerate(samples)]
    population = small_population(common, own)
    BatchedEngine().advance(population, steps)
    return population


def drawn(population: Population, seed: int = 0) -> Tensor:
    shape = population.parameters_MP.shape
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(population.dtype)


def largest(hessian: Hessian, start_MP: Tensor, tolerance: float = 1e-3, **of: Tensor) -> TopPairs:
    noise = rounding_noise(start_MP.dtype)
    limits = {"max_iterations": 48, "fewest": FEWEST_PRODUCTS}
    return hessian.top_eigenvalue(start_MP, **limits, tolerance=tolerance, rounding=noise, **of)


def assert_is_a_pair(found: TopPairs, product: Callable[[Tensor], Tensor], tolerance: float) -> None:
    """Value and residual belong to the vector, which has length 1."""
    vector_MP = torch.from_numpy(found.vector_MP)
    image_MP = product(vector_MP).double()
    value_M = torch.from_numpy(found.value_M)
    scale_M = image_MP.norm(dim=1)
    residual_M = (image_MP - value_M[:, None] * vector_MP).norm(dim=1)
    assert ((vector_MP.double() * image_MP).sum(1) - value_M).abs().le(tolerance * scale_M).all()
    assert (residual_M - torch.from_numpy(found.residual_M)).abs().le(tolerance * scale_M).all()
    assert vector_MP.norm(dim=1).tolist() == pytest.approx([1] * len(vector_MP), rel=max(tolerance, 1e-12))


@pytest.mark.parametrize("model", MODELS)
def test_top_of_the_dense_matrix(model: Sequence[str]) -> None:
    population = members(*model)
    hessian = Hessian(population)
    matrix_MPP = dense_matrix(hessian, population.parameters_MP)
    top_M = torch.linalg.eigvalsh((matrix_MPP + matrix_MPP.mT) / 2)[:, -1].numpy()
    for tolerance in (1e-3, 1e-9):
        found = largest(hessian, drawn(population), tolerance)
        np.testing.assert_array_less(np.abs(found.value_M - top_M), found.residual_M + 1e-12 * top_M)
        np.testing.assert_array_less(found.residual_M, tolerance * top_M * (1 + 1e-6))
        assert_is_a_pair(found, hessian, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decades", [0, 6])
def test_the_preconditioned_problem_with_decay(decades: int, dtype: str) -> None:
    population = members("activation=silu", f"hardware.dtype={dtype}")
    hessian, start_MP = Hessian(population), drawn(population)
    generator = torch.Generator().manual_seed(1)
    diagonal_MP = 10 ** (decades * (torch.rand(start_MP.shape, generator=generator).to(start_MP) - 1))
    penalty_M = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    whole = preconditioned(hessian, diagonal_MP, penalty_M)
    expected = top_eigenvalue(whole, start_MP, max_iterations=48, check_every=1)
    found = largest(hessian, start_MP, root_MP=whole.root_MP, penalty_M=penalty_M)
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    slack_M = (expected.residual_M + tolerance * expected.value_M).numpy()
    np.testing.assert_array_less(np.abs(found.value_M - expected.value_M.numpy()), slack_M)
    assert_is_a_pair(found, whole, tolerance)


def test_as_many_products_as_the_other_implementation_and_the_same_pair() -> None:
    population = members("activation=gelu")
    hessian, start_MP = Hessian(population), drawn(population)
    expected = top_eigenvalue(hessian, start_MP, check_every=1)
    found = largest(hessian, start_MP)
    assert found.iterations_M.tolist() == expected.iterations_M.tolist()
    assert min(found.iterations_M) >= FEWEST_PRODUCTS
    np.testing.assert_allclose(found.value_M, expected.value_M.numpy(), rtol=1e-12)
    np.testing.assert_allclose(found.residual_M, expected.residual_M.numpy(), rtol=1e-6)
    np.testing.assert_allclose(found.vector_MP, expected.vector_MP.numpy(), atol=1e-9)


def test_a_penalty_without_a_diagonal_adds_to_the_eigenvalue() -> None:
    population = members("activation=gelu")
    hessian, start_MP = Hessian(population), drawn(population)
    penalty_M = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    found = largest(hessian, start_MP, 1e-9, penalty_M=penalty_M)
    expected_M = largest(hessian, start_MP, 1e-9).value_M + penalty_M.numpy()
    np.testing.assert_allclose(found.value_M, expected_M, rtol=1e-12)
    assert_is_a_pair(found, SymmetricMatrix(hessian, penalty_M=penalty_M), 1e-12)


@pytest.mark.parametrize("fewest", [1, 3, FEWEST_PRODUCTS, 9])
def test_both_implementations_ask_for_convergence_after_as_many_products(fewest: int) -> None:
    """A tolerance that anything meets: what is left is the number of products before it is asked for."""
    population = members("activation=gelu")
    hessian, start_MP = Hessian(population), drawn(population)
    limits = {"max_iterations": 48, "fewest": fewest, "tolerance": 1e9}
    found = hessian.top_eigenvalue(start_MP, **limits, rounding=rounding_noise(start_MP.dtype))
    assert found.iterations_M.tolist() == [fewest] * 3
    assert top_eigenvalue(hessian, start_MP, **limits).iterations_M.tolist() == [fewest] * 3


def test_few_products_are_said_by_the_residual() -> None:
    population = members("activation=gelu")
    hessian = Hessian(population)
    limits = {"max_iterations": 3, "fewest": FEWEST_PRODUCTS}
    found = hessian.top_eigenvalue(drawn(population), **limits, tolerance=1e-9, rounding=1e-15)
    assert found.iterations_M.tolist() == [3, 3, 3]
    assert (found.residual_M > 1e-3 * found.value_M).all()
    assert_is_a_pair(found, hessian, 1e-12)


def test_an_eigenvector_ends_it_at_once_and_the_space_never_grows_beyond_the_parameters() -> None:
    population = members("model=linear", "data.input_dim=1", "data.num_classes=2", samples=(5,))
    hessian = Hessian(population)
    first = largest(hessian, drawn(population), 1e-30)
    assert first.iterations_M[0] <= population.model.num_parameters == 2
    again = largest(hessian, torch.from_numpy(first.vector_MP), 1e-30)
    assert again.iterations_M.tolist() == [1]
    assert again.value_M == pytest.approx(first.value_M, rel=1e-14)


def test_without_curvature_it_is_zero() -> None:
    population = members("activation=relu", "model.initialization_scale=0", steps=0)
    found = largest(Hessian(population), drawn(population))
    assert found.value_M.tolist() == found.residual_M.tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", ["start", "root", "weights"])
def test_what_is_not_finite_is_nan_for_its_member_and_leaves_nothing_behind(bad: str) -> None:
    population = members("activation=tanh", "hardware.dtype=float32")
    hessian, start_MP, root_MP = Hessian(population), drawn(population), drawn(population, 1).abs()
    good = largest(hessian, start_MP, root_MP=root_MP)
    spoiled = {
        "start": start_MP.clone(),
        "root": root_MP.clone(),
        "weights": population.parameters_MP.clone(),
    }
    spoiled[bad][1, 3] = torch.nan
    hessian.linearize(population.with_parameters(spoiled["weights"]))
    found = largest(hessian, spoiled["start"], root_MP=spoiled["root"])
    assert np.isnan(found.value_M).tolist() == np.isnan(found.residual_M).tolist() == [False, True, False]
    assert np.isnan(found.vector_MP[1]).all()
    hessian.linearize(population)
    after = largest(hessian, start_MP, root_MP=root_MP)
    for one, other in zip(good, after, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(found.vector_MP[[0, 2]], good.vector_MP[[0, 2]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_those_of_the_member_alone(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("activation=silu", "model.depth=2", f"hardware.dtype={dtype}", "hardware.threads=3")
    own = list(enumerate((14, 600, 33, 9)))
    population = Population([small_config(*common, f"seed={s}", f"data.num_samples={n}") for s, n in own])
    start_MP, root_MP = drawn(population), drawn(population, 1).abs()
    alone = [
        largest(Hessian(population.keep([m])), start_MP[m : m + 1], root_MP=root_MP[m : m + 1])
        for m in range(4)
    ]
    together = largest(Hessian(population), start_MP, root_MP=root_MP)
    monkeypatch.setattr(curvature, "OPERATIONS_WORTH_A_THREAD", 1.0)
    threaded = largest(Hessian(population), start_MP, root_MP=root_MP)
    order = [2, 0, 3, 1]
    shuffled = largest(Hessian(population.keep(order)), start_MP[order], root_MP=root_MP[order])
    for place, one in enumerate(alone):
        rows = ((together, place), (threaded, place), (shuffled, order.index(place)))
        for pairs, row in rows:
            assert all(
                np.array_equal(field[row], own_field[0]) for field, own_field in zip(pairs, one, strict=True)
            )


def test_one_linearization_is_taken_to_the_next_point_and_never_to_other_members() -> None:
    population = members("activation=tanh")
    kept = Curvature(population.configs[0].measure)
    kept.columns(population)
    hessian = kept.compiled
    BatchedEngine().advance(population, 5)
    found = kept.columns(population)
    assert kept.compiled is hessian is not None
    fresh = Curvature(population.configs[0].measure).columns(population)
    slack_M = found["sharpness/residual"] + fresh["sharpness/residual"]
    name = "sharpness/top_eigenvalue"
    assert (found[name] - fresh[name]).abs().le(slack_M).all()
    fewer = population.keep([2, 0])
    assert not hessian.is_of(fewer)
    stays = kept.keep([2, 0])
    values_M = stays.columns(fewer)[name]
    assert stays.compiled is not hessian
    torch.testing.assert_close(values_M, found[name][[2, 0]], rtol=1e-5, atol=0)
