"""Local regression: exact on what it fits, errors as weighted least squares has them."""

from __future__ import annotations

import numpy as np

from memcap.search.smoothing import local_fit


def test_a_parabola_is_kept_and_errors_shrink() -> None:
    x_N = np.arange(12.0)
    mean_N = 5 + 2 * x_N - 0.3 * x_N**2
    variance_N = np.full(12, 0.04)
    value_N, error_N = local_fit(x_N, mean_N, variance_N, 4.5)
    np.testing.assert_allclose(value_N, mean_N, rtol=1e-9)
    assert (error_N[2:-2] < 0.2).all()


def test_errors_are_those_of_repeated_draws() -> None:
    random = np.random.default_rng(1)
    x_N, sd_N = np.array([0.0, 1, 2, 3, 4, 5, 6, 7]), np.array([1.0, 2, 1, 3, 1, 2, 1, 1])
    draws = random.normal(10 + x_N, sd_N, (1500, 8))
    fits = np.array([local_fit(x_N, draw, sd_N**2, 3.5)[0] for draw in draws])
    np.testing.assert_allclose(fits.std(0), local_fit(x_N, draws[0], sd_N**2, 3.5)[1], rtol=0.08)
    np.testing.assert_allclose(fits.mean(0), 10 + x_N, atol=0.2)


def test_few_points_keep_their_own_means() -> None:
    x_N, mean_N, variance_N = np.array([0.0, 1, 2]), np.array([1.0, 9, 2]), np.array([1.0, 4, 9])
    value_N, error_N = local_fit(x_N, mean_N, variance_N, 3.0)
    assert value_N.tolist() == [1, 9, 2]
    assert error_N.tolist() == [1, 2, 3]


def test_points_without_any_scatter_are_no_division_by_zero() -> None:
    x_N = np.arange(8.0)
    value_N, error_N = local_fit(x_N, x_N * 3, np.zeros(8), 3.5)
    np.testing.assert_allclose(value_N, x_N * 3, atol=1e-6)
    assert (error_N == 0).all()
