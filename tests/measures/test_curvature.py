"""Curvature of the repository's own populations: closed forms, dense float64 Hessians, and curvlinops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scipy.linalg
import scipy.sparse.linalg
import torch
from matrix_cases import rademacher, randn
from population_cases import (
    flat,
    leaves,
    plain_loss,
    small_config,
    small_population,
    training_tensors,
)
from torch import Tensor, nn

from memcap.engines import BatchedEngine
from memcap.measures.sharpness import (
    dense_hessian,
    hessian_vector_products,
    preconditioned,
    top_eigenvalue,
    top_eigenvalues,
)
from memcap.measures.spectrum import dense_spectrum, spectral_moment, stochastic_lanczos_quadrature
from memcap.measures.trace import hutchinson_trace
from memcap.optimizers import KnowsStability
from memcap.population import Population

# Members differ in N, so that some are padded.
MEMBERS = [
    [f"seed={seed}", f"data.num_samples={num_samples}"] for seed, num_samples in enumerate((14, 9, 11))
]


def trained(*common: str, steps: int = 15) -> Population:
    population = small_population(common, MEMBERS)
    BatchedEngine().advance(population, steps)
    return population


def training_loss(population: Population) -> Callable[[Tensor], Tensor]:
    return lambda parameters_MP: population.losses(parameters_MP, population.training_set)


def plain_hessian(population: Population, member: int) -> Tensor:
    """The Hessian [P, P] of one member's loss as torch.autograd.functional has it, without a member axis."""
    weights = leaves(population, member)
    inputs_ND, targets = training_tensors(population, member)
    inputs_ND = inputs_ND.double()

    def loss(parameters_P: Tensor) -> Tensor:
        parts = parameters_P.split([weight.numel() for weight in weights.values()])
        named = {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return plain_loss(population.configs[member], named, inputs_ND, targets)

    hessian_PP = torch.autograd.functional.hessian(loss, flat(weights))
    assert isinstance(hessian_PP, Tensor)
    return hessian_PP


def test_least_squares_hessian_is_the_gram_matrix_for_each_output() -> None:
    population = trained("model=linear", "objective=squared_error")
    hessian_MPP = dense_hessian(training_loss(population), population.parameters_MP)
    eigenvalues_MP = dense_spectrum(training_loss(population), population.parameters_MP)
    for member in range(3):
        inputs_ND, _ = training_tensors(population, member)
        gram_DD = inputs_ND.double().T @ inputs_ND.double()
        num_samples, num_outputs = len(inputs_ND), 3
        # The weight is [D, V], so the outputs are the fast axis.
        expected_PP = 2 / (num_samples * num_outputs) * torch.kron(gram_DD, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(hessian_MPP[member], expected_PP, rtol=1e-10, atol=1e-13)
        gram_eigenvalues_D = 2 / (num_samples * num_outputs) * torch.linalg.eigvalsh(gram_DD)
        expected_P = gram_eigenvalues_D.repeat_interleave(3)
        torch.testing.assert_close(eigenvalues_MP[member], expected_P, rtol=1e-10, atol=1e-13)


def test_least_squares_eigenvalues_come_in_threes_and_three_starts_see_them() -> None:
    population = trained("model=linear", "objective=squared_error")
    product = hessian_vector_products(training_loss(population), population.parameters_MP)
    starts = randn(3, *population.parameters_MP.shape, seed=0)
    pairs = top_eigenvalues(product, starts[0], count=7, more_starts=list(starts[1:]), tolerance=1e-9)
    expected_MP = dense_spectrum(training_loss(population), population.parameters_MP)
    torch.testing.assert_close(pairs.values_ME, expected_MP.flip(1)[:, :7], rtol=1e-9, atol=1e-12)


def test_softmax_regression_hessian_is_its_closed_form() -> None:
    # H = 1/N Σ_n x xᵀ ⊗ (diag p − p pᵀ)
    population = trained("model=linear")
    hessian_MPP = dense_hessian(training_loss(population), population.parameters_MP)
    for member in range(3):
        inputs_ND = training_tensors(population, member)[0].double()
        probability_NV = (inputs_ND @ population.parameters_MP[member].view(4, 3)).softmax(dim=1)
        covariance_NVV = (
            torch.diag_embed(probability_NV) - probability_NV[:, :, None] * probability_NV[:, None]
        )
        expected = torch.einsum("ni,nj,nab->iajb", inputs_ND, inputs_ND, covariance_NVV) / len(inputs_ND)
        torch.testing.assert_close(hessian_MPP[member], expected.reshape(12, 12), rtol=1e-9, atol=1e-12)
    # Adding one vector to all columns changes no probability: D eigenvalues are 0, and none is negative.
    eigenvalues_MP = dense_spectrum(training_loss(population), population.parameters_MP)
    assert eigenvalues_MP[:, :4].abs().max() < 1e-14
    assert (eigenvalues_MP[:, 4:] > 1e-8).all()


@pytest.mark.parametrize(
    "common",
    [
        ("activation=tanh",),
        ("activation=gelu", "model.depth=2", "model.bias=true", "model.residual=true"),
        ("activation=silu", "objective=squared_error"),
    ],
    ids=" ".join,
)
def test_everything_agrees_with_the_dense_hessian_of_a_plain_network(common: tuple[str, ...]) -> None:
    population = trained(*common)
    loss, parameters_MP = training_loss(population), population.parameters_MP
    expected_MPP = torch.stack([plain_hessian(population, member) for member in range(3)])
    expected_MP = torch.linalg.eigvalsh(expected_MPP)
    scale = float(expected_MP.abs().max())
    torch.testing.assert_close(
        dense_spectrum(loss, parameters_MP), expected_MP, rtol=1e-9, atol=1e-13 * scale
    )
    product = hessian_vector_products(loss, parameters_MP)
    pairs = top_eigenvalues(product, randn(*parameters_MP.shape, seed=1), count=4, tolerance=1e-9)
    torch.testing.assert_close(pairs.values_ME, expected_MP.flip(1)[:, :4], rtol=1e-9, atol=1e-12 * scale)
    probes_KMP = rademacher(8, *parameters_MP.shape, seed=2)
    trace = hutchinson_trace(product, probes_KMP)
    forms_KM = torch.einsum("kmi,mij,kmj->km", probes_KMP, expected_MPP, probes_KMP)
    torch.testing.assert_close(trace.value_M, forms_KM.mean(dim=0), rtol=1e-9, atol=1e-12)
    mean = spectral_moment(stochastic_lanczos_quadrature(product, probes_KMP, steps=6), 1)
    torch.testing.assert_close(mean.value_M, trace.value_M / parameters_MP.shape[1], rtol=1e-9, atol=1e-13)
    assert ((trace.value_M - expected_MP.sum(dim=1)).abs() < 5 * trace.standard_error_M).all()


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_preconditioned_sharpness_of_a_trained_population_is_that_of_the_generalized_problem(
    kind: str,
) -> None:
    population = trained("activation=tanh", f"optimizer={kind}")
    optimizer = population.optimizer
    assert isinstance(optimizer, KnowsStability)
    diagonal_MP = optimizer.preconditioner(population.state, population.step, population.values)
    assert diagonal_MP is not None
    product = hessian_vector_products(training_loss(population), population.parameters_MP)
    pair = top_eigenvalue(
        preconditioned(product, diagonal_MP), randn(*diagonal_MP.shape, seed=0), tolerance=1e-9
    )
    for member in range(3):
        dense_PP, diagonal_PP = plain_hessian(population, member), torch.diag(diagonal_MP[member])
        expected = scipy.linalg.eigh(dense_PP.numpy(), diagonal_PP.numpy(), eigvals_only=True)[-1]
        assert pair.value_M[member].item() == pytest.approx(expected, rel=1e-9)


def as_module(population: Population, member: int) -> nn.Sequential:
    """The population's MLP of one hidden layer as torch.nn has it."""
    weights = leaves(population, member)
    module = nn.Sequential()
    for name in ("hidden1", "output", "head"):
        weight = weights[f"{name}.weight"]
        layer = nn.Linear(*weight.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = weight.data.T.clone(), weights[f"{name}.bias"].data.clone()
        module.append(layer)
        if name == "hidden1":
            module.append(nn.Tanh())
    return module


# linear_operator, which curvlinops imports, and torch's own forward mode call torch.jit.script, which warns.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
def test_top_eigenvalue_and_trace_are_those_of_curvlinops(objective: str) -> None:
    from curvlinops import HessianLinearOperator

    population = trained("activation=tanh", "model.bias=true", f"objective={objective}")
    product = hessian_vector_products(training_loss(population), population.parameters_MP)
    pairs = top_eigenvalues(product, randn(*population.parameters_MP.shape, seed=0), count=3, tolerance=1e-9)
    eigenvalues_MP = dense_spectrum(training_loss(population), population.parameters_MP)
    for member in range(3):
        module = as_module(population, member)
        inputs_ND, targets = training_tensors(population, member)
        loss: nn.Module = nn.CrossEntropyLoss()
        if objective == "squared_error":
            loss, targets = nn.MSELoss(), nn.functional.one_hot(targets, 3).double()
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        hessian = HessianLinearOperator(module, loss, parameters, [(inputs_ND.double(), targets)])
        top_E = scipy.sparse.linalg.eigsh(hessian.to_scipy(), k=3, which="LA", return_eigenvectors=False)
        torch.testing.assert_close(
            pairs.values_ME[member], torch.from_numpy(top_E).sort(descending=True).values, rtol=1e-8, atol=0
        )
        identity_PP = torch.eye(hessian.shape[1], dtype=torch.float64)
        trace = float((hessian @ identity_PP).trace())
        assert eigenvalues_MP[member].sum().item() == pytest.approx(trace, rel=1e-9)


def test_float32_population_has_the_values_of_float64() -> None:
    configs = [small_config("activation=tanh", f"hardware.dtype={dtype}") for dtype in ("float32", "float64")]
    found = []
    for population in (Population([config]) for config in configs):
        product = hessian_vector_products(training_loss(population), population.parameters_MP)
        probes_KMP = rademacher(4, *population.parameters_MP.shape, seed=1).to(population.dtype)
        top = top_eigenvalues(product, probes_KMP[0], count=3).values_ME
        mean = spectral_moment(stochastic_lanczos_quadrature(product, probes_KMP, steps=8), 1)
        trace = hutchinson_trace(product, probes_KMP)
        spectrum_MP = dense_spectrum(training_loss(population), population.parameters_MP)
        found.append((top, mean.value_M, trace.value_M, spectrum_MP[:, -3:]))
    for single, double in zip(*found, strict=True):
        assert single.dtype == torch.float64
        torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-6)
