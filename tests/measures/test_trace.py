"""Hutchinson's estimator against all the probes there are, and beside any neighbour."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from matrix_cases import products, rademacher, randn

from memcap.measures.trace import hutchinson_trace, mean_over_probes

float64 = torch.float64


def symmetric(num_members: int, size: int, *, seed: int) -> torch.Tensor:
    random_MPP = randn(num_members, size, size, seed=seed)
    return random_MPP + random_MPP.mT


def test_one_probe_is_exact_for_a_diagonal_matrix_and_has_no_error_bar() -> None:
    diagonal_MP = randn(3, 20, seed=0)
    estimate = hutchinson_trace(lambda vector_MP: diagonal_MP * vector_MP, rademacher(1, 3, 20, seed=1))
    torch.testing.assert_close(estimate.value_M, diagonal_MP.sum(dim=1), rtol=1e-12, atol=1e-13)
    assert estimate.standard_error_M.isnan().all()


def test_more_probes_say_that_a_diagonal_matrix_is_exact() -> None:
    diagonal_MP = randn(3, 20, seed=0)
    estimate = hutchinson_trace(lambda vector_MP: diagonal_MP * vector_MP, rademacher(5, 3, 20, seed=1))
    torch.testing.assert_close(estimate.standard_error_M, torch.zeros(3, dtype=float64), rtol=0, atol=1e-15)


def test_mean_and_variance_over_all_sign_vectors_are_the_closed_forms() -> None:
    matrices_MPP = symmetric(2, 8, seed=0)
    signs_KP = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=8)), dtype=float64)
    probes_KMP = signs_KP[:, None].expand(-1, 2, -1)
    estimate = hutchinson_trace(products(matrices_MPP), probes_KMP)
    trace_M = matrices_MPP.diagonal(dim1=1, dim2=2).sum(dim=1)
    torch.testing.assert_close(estimate.value_M, trace_M, rtol=1e-12, atol=1e-12)
    off_diagonal_MPP = matrices_MPP - torch.diag_embed(matrices_MPP.diagonal(dim1=1, dim2=2))
    variance_M = 2 * off_diagonal_MPP.square().sum(dim=(1, 2))
    # The sample variance of the 256 values divides by 255.
    expected_M = (variance_M / 255).sqrt()
    torch.testing.assert_close(estimate.standard_error_M, expected_M, rtol=1e-12, atol=0)


def test_the_error_bar_covers_the_trace() -> None:
    matrices_MPP = symmetric(1, 30, seed=0).expand(200, 30, 30)
    estimate = hutchinson_trace(products(matrices_MPP), rademacher(20, 200, 30, seed=1))
    off_M = (estimate.value_M - matrices_MPP[0].trace()) / estimate.standard_error_M
    # Student's t with 19 degrees of freedom exceeds 2.09 in 5 % of the cases; 200 of them give 10 ± 3.1.
    assert 2 <= int((off_M.abs() > 2.09).sum()) <= 20


def test_mean_over_probes_is_that_of_numpy() -> None:
    per_probe_KM = randn(7, 3, seed=0)
    estimate = mean_over_probes(per_probe_KM)
    values = per_probe_KM.numpy()
    np.testing.assert_allclose(estimate.value_M, values.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        estimate.standard_error_M, values.std(axis=0, ddof=1) / math.sqrt(7), rtol=1e-13
    )


def test_float32_products_are_summed_in_float64() -> None:
    diagonal_P = torch.full((100_000,), 0.1, dtype=torch.float32)
    probes_KMP = rademacher(2, 1, 100_000, seed=0).float()
    estimate = hutchinson_trace(lambda vector_MP: diagonal_P * vector_MP, probes_KMP)
    assert estimate.value_M.dtype == estimate.standard_error_M.dtype == float64
    assert estimate.value_M.item() == pytest.approx(100_000 * float(diagonal_P[0]), rel=1e-13)


def test_member_alone_equals_in_population_shuffled_and_beside_nan() -> None:
    matrices_MPP, probes_KMP = symmetric(4, 15, seed=0), rademacher(6, 4, 15, seed=1)
    together = hutchinson_trace(products(matrices_MPP), probes_KMP)
    order = [3, 1, 0, 2]
    shuffled = hutchinson_trace(products(matrices_MPP[order]), probes_KMP[:, order])
    spoiled_MPP = matrices_MPP.clone()
    spoiled_MPP[1, 2, 2] = math.inf
    beside_infinity = hutchinson_trace(products(spoiled_MPP), probes_KMP)
    for member in range(4):
        alone = hutchinson_trace(
            products(matrices_MPP[member : member + 1]), probes_KMP[:, member : member + 1]
        )
        for field, expected in enumerate(alone):
            for found_M, row in ((together[field], member), (shuffled[field], order.index(member))):
                torch.testing.assert_close(found_M[row], expected[0], rtol=1e-12, atol=1e-13)
            if member != 1:
                torch.testing.assert_close(
                    beside_infinity[field][member], expected[0], rtol=1e-12, atol=1e-13
                )
    assert not beside_infinity.value_M[1].isfinite()
