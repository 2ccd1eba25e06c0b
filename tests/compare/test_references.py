"""Cover's theorem against counting and separating."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from scipy.optimize import linprog

from memcap.compare.references import cover_probability, exact_reference


@pytest.mark.parametrize(("samples", "weights"), list(itertools.product((1, 2, 5, 10, 40), (1, 2, 3, 7, 20))))
def test_the_sum_of_binomials(samples: int, weights: int) -> None:
    exact = sum(comb(samples - 1, k) for k in range(weights)) / 2 ** (samples - 1)
    assert cover_probability(samples, weights) == pytest.approx(exact)


def test_half_of_all_labellings_at_two_per_weight() -> None:
    for weights in (1, 3, 50, 5000):
        assert cover_probability(2 * weights, weights) == pytest.approx(0.5)


def test_all_labellings_of_points_in_the_plane_counted_one_by_one() -> None:
    points = np.random.default_rng(0).standard_normal((6, 2))
    separable = sum(
        linprog(
            np.zeros(2), A_ub=-np.array(signs)[:, None] * points, b_ub=-np.ones(6), bounds=(None, None)
        ).success
        for signs in itertools.product((-1.0, 1.0), repeat=6)
    )
    assert separable / 64 == pytest.approx(cover_probability(6, 2))


def test_which_configurations_have_an_exact_capacity() -> None:
    perceptron = {
        "model.kind": "linear",
        "data.kind": "random_labels",
        "data.num_classes": 2,
        "data.input_dim": 30,
    }
    reference = exact_reference(perceptron | {"model.bias": True})
    assert reference is not None
    assert (reference.num_samples, reference.bits) == (62, 62)
    assert exact_reference(perceptron | {"data.num_classes": 3}) is None
    assert exact_reference(perceptron | {"model.kind": "mlp"}) is None
