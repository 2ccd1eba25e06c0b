"""Hessian-vector products of the fused engine against automatic differentiation, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from population_cases import small_config, small_population
from torch import Tensor

from memcap.engines import BatchedEngine, fused_hessian
from memcap.engines.fused import curvature
from memcap.engines.fused.curvature import Hessian
from memcap.measures.curvature import loss_curvature
from memcap.measures.sharpness import dense_matrix, hessian_vector_products
from memcap.population import Population

EXACT = 1e-11  # relative, float64
SAMPLES = (14, 9, 600)  # less than a register, more than a block of 512
PLAIN = ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity", "sin")
FORMULAS = (
    "x*sin(3*x)", "max(x,0.1*x)", "min(x*x,1-x)", "max(x,0.3)-min(x,-0.2)", "log1p(abs(x))", "x/(x*x+0.5)",
    "softplus(x)-2**-x", "(x*x+1)**(x/3)", "sqrt(x*x+0.1)**3+cos(x)", "erf(x)*sigmoid(x)", "exp(-x*x)/(2-x)",
    "1/(3+tanh(x))", "(x*x+1)**1.5", "relu(x)**3-x**5", "x",
)  # fmt: skip
MODELS = (
    ("model=linear",),
    ("model=linear", "model.bias=true"),
    ("model.width=1",),
    ("model.depth=3", "model.width=7"),
    ("model.depth=3", "model.width=7", "model.bias=true", "model.residual=true"),
    ("model.depth=2", "model.output_dim=2", "model.width=13"),
)
SPARSE = ("data=sparse_features", "objective=squared_error", "data.batch_size=null")


def members(*common: str, samples: Sequence[int] = SAMPLES, steps: int = 3) -> Population:
    own = [(f"seed={seed}", f"data.num_samples={count}") for seed, count in enumerate(samples)]
    population = small_population(common, own)
    BatchedEngine().advance(population, steps)
    return population


def automatic(population: Population) -> Callable[[Tensor], Tensor]:
    return hessian_vector_products(
        lambda parameters_MP: population.losses(parameters_MP, population.training_set),
        population.parameters_MP,
    )


def directions(population: Population, seed: int = 0) -> Tensor:
    shape = population.parameters_MP.shape
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(population.dtype)


def assert_is_the_hessian(population: Population, tolerance: float = EXACT) -> None:
    vectors_MP = directions(population)
    expected_MP = automatic(population)(vectors_MP)
    assert expected_MP.isfinite().all()
    error_M = (Hessian(population)(vectors_MP) - expected_MP).norm(dim=1)
    assert (error_M <= tolerance * expected_MP.norm(dim=1)).all()


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", PLAIN)
def test_plain_activations(activation: str, objective: str) -> None:
    overrides = (f"activation={activation}", f"objective={objective}", "model.bias=true", "model.width=7")
    assert_is_the_hessian(members(*overrides))


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas(formula: str) -> None:
    assert_is_the_hessian(members("activation=formula", f"activation.formula={formula}", "model.width=7"))


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("model", MODELS)
def test_models(model: Sequence[str], objective: str) -> None:
    activation = () if "model=linear" in model else ("activation=gelu",)
    assert_is_the_hessian(members(*model, *activation, f"objective={objective}"))


@pytest.mark.parametrize("other", [("data.num_classes=2",), ("data.input_dim=1",), ("data.batch_size=5",)])
def test_shapes_of_data(other: Sequence[str]) -> None:
    assert_is_the_hessian(members(*other, "activation=tanh"))


def test_features_with_importance() -> None:
    decays = ["data.importance_decay=0.9", "data.importance_decay=0.5"]
    own = [("seed=0", "data.num_samples=11", decays[0]), ("seed=1", "data.num_samples=40", decays[1])]
    assert_is_the_hessian(small_population((*SPARSE, "activation=silu"), own))
    assert_is_the_hessian(small_population((*SPARSE, "objective.use_importance=false"), own))


def test_frequencies_of_members() -> None:
    own = [(f"seed={k}", f"activation.frequency={1.5 * k + 1}") for k in range(3)]
    assert_is_the_hessian(small_population(("activation=sin",), own))


def test_the_matrix_is_symmetric() -> None:
    population = members("activation=silu", "model.depth=2", "model.residual=true", samples=(30, 21))
    matrix_MPP = dense_matrix(Hessian(population), population.parameters_MP)
    assert (matrix_MPP - matrix_MPP.mT).abs().max() <= 1e-14 * matrix_MPP.abs().max()


def test_products_are_linear_and_leave_nothing_behind() -> None:
    population = members("activation=gelu", "model.bias=true")
    product, first_MP, second_MP = (
        Hessian(population),
        directions(population, 1),
        directions(population, 2),
    )
    image_MP = product(first_MP)
    together_MP = product(first_MP - 3 * second_MP)
    torch.testing.assert_close(together_MP, image_MP - 3 * product(second_MP), rtol=1e-12, atol=1e-13)
    assert torch.equal(product(first_MP), image_MP)
    assert not product(torch.zeros_like(first_MP)).any()


def test_it_stays_where_the_population_was() -> None:
    population = members("activation=tanh")
    product, vectors_MP = Hessian(population), directions(population)
    before_MP = product(vectors_MP)
    BatchedEngine().advance(population, 5)
    assert torch.equal(product(vectors_MP), before_MP)
    assert not torch.equal(Hessian(population)(vectors_MP), before_MP)


def test_a_memorized_sample_keeps_its_digits() -> None:
    """Where p of the label is nearly 1, curvature is that of what is left: 1 - p from float32's last digits."""
    exact = members("data.num_classes=3", "model.width=16", samples=(9,), steps=400)
    exact.parameters_MP *= 1.5
    assert float(exact.losses(exact.parameters_MP, exact.training_set)) < 1e-6
    rounded = members("data.num_classes=3", "model.width=16", "hardware.dtype=float32", samples=(9,), steps=0)
    rounded.parameters_MP = exact.parameters_MP.float()
    exact.parameters_MP = rounded.parameters_MP.double()
    vectors_MP = directions(rounded)
    expected_MP = automatic(exact)(vectors_MP.double())
    errors = [(make(rounded)(vectors_MP) - expected_MP).norm() for make in (automatic, Hessian)]
    assert errors[1] <= 0.1 * errors[0]
    assert errors[1] <= 0.05 * expected_MP.norm() < errors[0]


@pytest.mark.parametrize("activation", PLAIN)
def test_float32_is_as_near_to_float64_as_automatic_differentiation(activation: str) -> None:
    overrides = (f"activation={activation}", "model.bias=true", "model.width=16")
    rounded = members(*overrides, "hardware.dtype=float32", steps=0)
    exact = members(*overrides, steps=0)
    exact.parameters_MP = rounded.parameters_MP.double()
    vectors_MP = directions(rounded)
    expected_MP = automatic(exact)(vectors_MP.double())
    errors = [(make(rounded)(vectors_MP) - expected_MP).norm() for make in (automatic, Hessian)]
    assert errors[1] <= 3 * errors[0] + 1e-6 * expected_MP.norm()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_those_of_the_member_alone(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("activation=silu", "model.depth=2", f"hardware.dtype={dtype}")
    configs = [
        small_config(*common, f"seed={s}", f"data.num_samples={n}") for s, n in enumerate((14, 600, 33, 9))
    ]
    population = Population(configs)
    vectors_MP = directions(population)
    alone = [Hessian(population.keep([m]))(vectors_MP[m : m + 1])[0] for m in range(4)]
    monkeypatch.setattr(curvature, "OPERATIONS_WORTH_A_THREAD", 1.0)
    threaded = [small_config(*common, "hardware.threads=3", *(f"seed={s}", f"data.num_samples={n}"))
                for s, n in enumerate((14, 600, 33, 9))]  # fmt: skip
    assert torch.equal(Hessian(population)(vectors_MP), torch.stack(alone))
    assert torch.equal(Hessian(Population(threaded))(vectors_MP), torch.stack(alone))
    broken = population.with_parameters(population.parameters_MP.clone())
    broken.parameters_MP[1], broken.parameters_MP[2] = torch.nan, torch.inf
    found_MP = Hessian(broken)(vectors_MP)
    assert found_MP[1].isnan().all()
    assert not found_MP[2].isfinite().any()
    assert torch.equal(found_MP[[0, 3]], torch.stack(alone)[[0, 3]])


def test_measures_take_it_where_the_fused_engine_trains() -> None:
    assert fused_hessian(members("activation=tanh")) is not None
    assert fused_hessian(members("activation=tanh", "hardware.engine=batched")) is None
    assert fused_hessian(small_population(("model=autoencoder", *SPARSE[:2]), [("seed=0",)])) is None
    fused, batched = (members("activation=tanh", f"hardware.engine={name}") for name in ("fused", "batched"))
    vectors_MP = directions(fused)
    torch.testing.assert_close(loss_curvature(fused)(vectors_MP), loss_curvature(batched)(vectors_MP))
    assert torch.equal(loss_curvature(fused)(vectors_MP), Hessian(fused)(vectors_MP))


def test_where_it_cannot_be_compiled_automatic_differentiation_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such instruction")

    population = members("activation=tanh")
    expected_MP = Hessian(population)(directions(population))
    monkeypatch.setattr(curvature, "pieces_of", broken)
    assert fused_hessian(population) is None
    found_MP = loss_curvature(population)(directions(population))
    torch.testing.assert_close(found_MP, expected_MP, rtol=EXACT, atol=EXACT)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("since it cannot be compiled here: RuntimeError: no such instruction")
