"""Spectra against dense eigenvalues: all of them, moments that a quadrature has exactly, a density for plots."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from matrix_cases import matrix, products, rademacher, randn
from torch import Tensor

from memcap.config.measure_schema import MOST_DENSE
from memcap.errors import BadInput
from memcap.measures.spectrum import (
    Quadrature,
    dense_spectrum,
    spectral_density,
    spectral_moment,
    stochastic_lanczos_quadrature,
)
from memcap.measures.trace import hutchinson_trace

float64 = torch.float64


def some_matrices(num_members: int, size: int) -> Tensor:
    """A bulk around zero and a few outliers, of very different scale."""
    spectrum_P = torch.cat([torch.linspace(-1, 1, size - 3), torch.tensor([2.0, 4.0, 9.0])])
    return torch.stack([10.0 ** (-3 * i) * matrix(spectrum_P, seed=i) for i in range(num_members)])


def test_dense_spectrum_of_a_quadratic_is_that_of_its_matrix() -> None:
    matrices_MPP = some_matrices(3, 20)

    def loss(parameters_MP: Tensor) -> Tensor:
        return 0.5 * torch.einsum("mi,mij,mj->m", parameters_MP, matrices_MPP, parameters_MP)

    eigenvalues_MP = dense_spectrum(loss, randn(3, 20, seed=9))
    expected_MP = torch.linalg.eigvalsh(matrices_MPP)
    torch.testing.assert_close(eigenvalues_MP, expected_MP, rtol=1e-10, atol=1e-14)
    assert (eigenvalues_MP.diff(dim=1) >= 0).all()


def test_dense_spectrum_is_float64_and_nan_for_its_own_member_only() -> None:
    parameters_MP = randn(3, 5, seed=0).float()
    expected_MP = dense_spectrum(lambda p_MP: (p_MP**4).sum(dim=1), parameters_MP)
    assert expected_MP.dtype == float64
    torch.testing.assert_close(
        expected_MP, (12 * parameters_MP.double() ** 2).sort(dim=1).values, rtol=1e-6, atol=0
    )
    parameters_MP[1, 2] = math.nan
    eigenvalues_MP = dense_spectrum(lambda p_MP: (p_MP**4).sum(dim=1), parameters_MP)
    assert eigenvalues_MP[1].isnan().all()
    assert torch.equal(eigenvalues_MP[[0, 2]], expected_MP[[0, 2]])


def test_dense_spectrum_of_a_large_model_is_refused_before_any_work() -> None:
    with pytest.raises(BadInput, match=r"got 2001 parameters, expected at most 2000; .*lanczos"):
        dense_spectrum(lambda p_MP: pytest.fail("it was called"), torch.zeros(1, MOST_DENSE + 1))


def moment_of_probes(matrices_MPP: Tensor, probes_KMP: Tensor, order: int) -> Tensor:
    """zᵀHⁿz / zᵀz of each probe, [K, M]."""
    power_MPP = torch.linalg.matrix_power(matrices_MPP, order)
    forms_KM = torch.einsum("kmi,mij,kmj->km", probes_KMP, power_MPP, probes_KMP)
    return forms_KM / probes_KMP.square().sum(dim=2)


@pytest.mark.parametrize("gaussian", [False, True])
def test_each_probe_has_its_moments_exactly_up_to_twice_the_steps(gaussian: bool) -> None:
    matrices_MPP, steps = some_matrices(3, 30), 4
    probes_KMP = (randn if gaussian else rademacher)(5, 3, 30, seed=1)
    quadrature = stochastic_lanczos_quadrature(products(matrices_MPP), probes_KMP, steps=steps)
    for order in range(1, 2 * steps + 1):
        expected_KM = moment_of_probes(matrices_MPP, probes_KMP, order)
        moment = spectral_moment(quadrature, order)
        relative_M = moment.value_M / expected_KM.mean(dim=0) - 1
        if order < 2 * steps:
            assert relative_M.abs().max() < 1e-10
            torch.testing.assert_close(
                moment.standard_error_M, expected_KM.std(dim=0) / 5**0.5, rtol=1e-9, atol=0
            )
        else:
            assert relative_M.abs().min() > 1e-6


def test_over_all_sign_vectors_the_moments_are_traces() -> None:
    matrices_MPP = some_matrices(2, 7)
    signs_KP = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=7)), dtype=float64)
    quadrature = stochastic_lanczos_quadrature(
        products(matrices_MPP), signs_KP[:, None].expand(-1, 2, -1), steps=3
    )
    eigenvalues_MP = torch.linalg.eigvalsh(matrices_MPP)
    for order in range(1, 6):
        expected_M = (eigenvalues_MP**order).mean(dim=1)
        torch.testing.assert_close(spectral_moment(quadrature, order).value_M, expected_M, rtol=1e-10, atol=0)


def test_the_mean_eigenvalue_is_the_trace_over_p_with_the_same_error() -> None:
    matrices_MPP, probes_KMP = some_matrices(2, 30), rademacher(6, 2, 30, seed=2)
    mean = spectral_moment(stochastic_lanczos_quadrature(products(matrices_MPP), probes_KMP, steps=5), 1)
    trace = hutchinson_trace(products(matrices_MPP), probes_KMP)
    torch.testing.assert_close(mean.value_M, trace.value_M / 30, rtol=1e-10, atol=0)
    torch.testing.assert_close(mean.standard_error_M, trace.standard_error_M / 30, rtol=1e-9, atol=0)
    one = spectral_moment(stochastic_lanczos_quadrature(products(matrices_MPP), probes_KMP[:1], steps=5), 1)
    assert one.standard_error_M.isnan().all()


def test_weights_are_positive_and_sum_to_one_over_k_for_each_probe() -> None:
    quadrature = stochastic_lanczos_quadrature(
        products(some_matrices(3, 30)), rademacher(4, 3, 30, seed=1), steps=6
    )
    assert quadrature.nodes_MK.shape == quadrature.weights_MK.shape == (3, 24)
    assert quadrature.sizes_M.tolist() == [24, 24, 24]
    assert (quadrature.weights_MK >= 0).all()
    sums_MK = quadrature.weights_MK.reshape(3, 4, 6).sum(dim=2)
    torch.testing.assert_close(sums_MK, torch.full((3, 4), 0.25, dtype=float64), rtol=1e-14, atol=0)
    assert (quadrature.nodes_MK.reshape(3, 4, 6).diff(dim=2) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_few_distinct_eigenvalues_end_early_with_nan_nodes_of_no_weight(dtype: torch.dtype) -> None:
    matrices_MPP = torch.stack(
        [
            torch.zeros(9, 9, dtype=float64),
            -2 * torch.eye(9, dtype=float64),
            matrix(torch.tensor([-5.0] * 4 + [3.0] * 5), seed=1),
            matrix(torch.arange(9), seed=2),
        ]
    ).to(dtype)
    probes_KMP = rademacher(2, 4, 9, seed=3).to(dtype)
    quadrature = stochastic_lanczos_quadrature(products(matrices_MPP), probes_KMP, steps=5)
    assert quadrature.sizes_M.tolist() == [2, 2, 4, 10]
    rtol = 1e-5 if dtype == torch.float32 else 1e-12
    for member, expected in enumerate(([0.0], [-2.0], [-5.0, 3.0])):
        nodes_KS = quadrature.nodes_MK[member].reshape(2, 5)
        expected_KS = torch.tensor([expected + [math.nan] * (5 - len(expected))] * 2, dtype=float64)
        torch.testing.assert_close(nodes_KS, expected_KS, rtol=rtol, atol=rtol, equal_nan=True)
        assert (quadrature.weights_MK[member].reshape(2, 5)[nodes_KS.isnan()] == 0).all()
    torch.testing.assert_close(quadrature.weights_MK.sum(dim=1), torch.ones(4, dtype=float64))
    expected_M = moment_of_probes(matrices_MPP.double(), probes_KMP.double(), 1).mean(dim=0)
    torch.testing.assert_close(spectral_moment(quadrature, 1).value_M, expected_M, rtol=1e-5, atol=1e-6)


def test_a_probe_whose_spaces_have_all_ended_asks_for_no_more_products() -> None:
    asked = []

    def identity(vector_MP: Tensor) -> Tensor:
        asked.append(len(vector_MP))
        return vector_MP

    quadrature = stochastic_lanczos_quadrature(identity, rademacher(3, 2, 50, seed=0), steps=20)
    assert asked == [2, 2, 2]
    assert quadrature.nodes_MK.shape == (2, 60)
    assert quadrature.sizes_M.tolist() == [3, 3]


def test_with_all_steps_the_nodes_are_the_eigenvalues() -> None:
    matrices_MPP = some_matrices(2, 12)
    quadrature = stochastic_lanczos_quadrature(products(matrices_MPP), randn(1, 2, 12, seed=3), steps=20)
    assert quadrature.sizes_M.tolist() == [12, 12]
    eigenvalues_MP = torch.linalg.eigvalsh(matrices_MPP)
    torch.testing.assert_close(quadrature.nodes_MK[:, :12], eigenvalues_MP, rtol=1e-9, atol=1e-12)
    assert quadrature.nodes_MK[:, 12:].isnan().all()


def test_member_alone_equals_in_population_shuffled_and_beside_nan() -> None:
    # The first ends early, so that it must not depend on the others going on.
    matrices_MPP = torch.cat([torch.eye(15, dtype=float64)[None], some_matrices(3, 15)])
    probes_KMP, grid_MG = rademacher(3, 4, 15, seed=1), torch.linspace(-2, 10, 50, dtype=float64)

    def measure(members: list[int], spoiled: int | None = None) -> tuple[Tensor, ...]:
        chosen_MPP = matrices_MPP[members].clone()
        if spoiled is not None:
            chosen_MPP[spoiled, 3, 3] = math.inf
        quadrature = stochastic_lanczos_quadrature(products(chosen_MPP), probes_KMP[:, members], steps=6)
        density_MG = spectral_density(quadrature.nodes_MK, quadrature.weights_MK, grid_MG, 0.3)
        return (*quadrature[:3], density_MG, *spectral_moment(quadrature, 2))

    order, spoiled = [2, 0, 3, 1], 1
    together, shuffled, beside_infinity = (
        measure([0, 1, 2, 3]),
        measure(order),
        measure([0, 1, 2, 3], spoiled),
    )
    for member in range(4):
        alone = measure([member])
        for field, expected in enumerate(alone):
            rows = [together[field][member], shuffled[field][order.index(member)]]
            rows += [beside_infinity[field][member]] if member != spoiled else []
            for row in rows:
                torch.testing.assert_close(row, expected[0], rtol=1e-9, atol=1e-12, equal_nan=True)
    assert beside_infinity[0][spoiled].isnan().all()
    assert beside_infinity[1][spoiled].isnan().any()
    assert beside_infinity[2].tolist() == [3, 0, 18, 18]
    assert beside_infinity[3][spoiled].isnan().all()
    assert beside_infinity[4][spoiled].isnan()


def test_density_of_one_node_is_a_normal_distribution() -> None:
    nodes_MK = torch.tensor([[2.0, math.nan], [-1.0, 3.0]], dtype=float64)
    weights_MK = torch.tensor([[1.0, 0.0], [0.25, 0.75]], dtype=float64)
    grid = torch.linspace(-3, 5, 2001, dtype=float64)
    density_MG = spectral_density(nodes_MK, weights_MK, grid, 0.1)
    normal = torch.distributions.Normal(torch.tensor([[2.0], [-1.0], [3.0]], dtype=float64), 0.1)
    bumps = normal.log_prob(grid).exp()
    torch.testing.assert_close(density_MG[0], bumps[0], rtol=1e-12, atol=1e-300)
    torch.testing.assert_close(density_MG[1], 0.25 * bumps[1] + 0.75 * bumps[2], rtol=1e-12, atol=1e-300)
    integral_M = torch.trapezoid(density_MG, grid, dim=1)
    torch.testing.assert_close(integral_M, torch.ones(2, dtype=float64), rtol=1e-9, atol=0)
    own_grids = torch.stack([grid, grid + 1])
    torch.testing.assert_close(spectral_density(nodes_MK, weights_MK, own_grids, 0.1)[0], density_MG[0])


def test_density_from_products_is_that_of_all_eigenvalues() -> None:
    matrices_MPP = some_matrices(1, 300)
    probes_KMP = rademacher(10, 1, 300, seed=0)
    quadrature = stochastic_lanczos_quadrature(products(matrices_MPP), probes_KMP, steps=40)
    grid = torch.linspace(-3, 11, 1000, dtype=float64)
    eigenvalues_MP = torch.linalg.eigvalsh(matrices_MPP)
    exact_MG = spectral_density(eigenvalues_MP, torch.full_like(eigenvalues_MP, 1 / 300), grid, 0.2)
    density_MG = spectral_density(quadrature.nodes_MK, quadrature.weights_MK, grid, 0.2)
    # Half the L1 distance is the share of eigenvalues in the wrong place.
    assert float(torch.trapezoid((density_MG - exact_MG).abs(), grid)) / 2 < 0.03


def test_bad_knobs_are_refused() -> None:
    probes_KMP = rademacher(2, 1, 4, seed=0)
    with pytest.raises(BadInput, match="steps=0"):
        stochastic_lanczos_quadrature(lambda vector_MP: vector_MP, probes_KMP, steps=0)
    with pytest.raises(BadInput, match="0 probes"):
        stochastic_lanczos_quadrature(lambda vector_MP: vector_MP, probes_KMP[:0], steps=3)
    quadrature = stochastic_lanczos_quadrature(lambda vector_MP: vector_MP, probes_KMP, steps=3)
    assert isinstance(quadrature, Quadrature)
    for width in (0.0, -1.0, math.nan):
        with pytest.raises(BadInput, match="width="):
            spectral_density(quadrature.nodes_MK, quadrature.weights_MK, torch.zeros(3), width)
