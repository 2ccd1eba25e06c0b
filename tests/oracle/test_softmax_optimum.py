"""The convex optimum against an independent optimizer, and against what it says of itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from memcap.data.random_labels import RandomLabels, RandomLabelsConfig
from memcap.oracle.margins import lower_bound, margins, upper_bound
from memcap.oracle.problem import LinearProblem
from memcap.oracle.separability import linear_program
from memcap.oracle.softmax_optimum import softmax_optimum


def loss_nats(weights_DV: np.ndarray, inputs_ND: np.ndarray, labels_N: np.ndarray) -> float:
    logits_NV = inputs_ND @ weights_DV
    return float(
        np.mean(np.logaddexp.reduce(logits_NV, axis=1) - logits_NV[np.arange(len(labels_N)), labels_N])
    )


@pytest.mark.parametrize(("num_classes", "num_samples"), [(2, 30), (3, 40), (10, 60)])
def test_optimum_is_that_of_an_independent_optimizer(num_classes: int, num_samples: int) -> None:
    inputs_ND, labels_N = LinearProblem(6, num_classes, seed=1).samples(num_samples)
    found = softmax_optimum(inputs_ND, labels_N, num_classes)
    peer = minimize(
        lambda flat: loss_nats(flat.reshape(6, num_classes), inputs_ND, labels_N),
        np.zeros(6 * num_classes),
        method="BFGS",
        options={"gtol": 1e-9},
    )
    assert found.loss_nats == pytest.approx(float(peer.fun), rel=1e-7)
    assert found.loss_nats <= peer.fun + 1e-9
    assert found.loss_nats == pytest.approx(loss_nats(found.weights_DV, inputs_ND, labels_N), rel=1e-12)
    assert found.bits == pytest.approx((math.log(num_classes) - found.loss_nats) * num_samples / math.log(2))
    assert found.gradient_norm < 1e-6
    assert found.gap_nats < 1e-12
    assert found.separability.separable is False


def test_separable_samples_cost_nothing() -> None:
    problem = LinearProblem(10, 10, seed=0)
    found = softmax_optimum(*problem.samples(30), 10)
    assert found.separability.separable
    assert (found.loss_nats, found.bits) == (0.0, pytest.approx(30 * math.log2(10)))
    assert found.num_memorized == 30
    assert margins(*problem.samples(30), found.weights_DV).min() > 0


def test_a_nearly_singular_hessian_is_decided_in_tens_of_steps() -> None:
    """Beside the separable N its directions are up to 1e12 long; taken, they raise the loss to 1e5 nats for good."""
    samples = LinearProblem(50, 10, seed=0).samples(224)
    found = softmax_optimum(*samples, 10)
    assert found.num_steps < 50
    assert found.separability.separable
    assert margins(*samples, found.weights_DV).min() > 0


def test_samples_that_are_separable_in_part() -> None:
    """Two of three inputs lie in a plane of their own: their loss vanishes at infinity, that of the others does not."""
    inputs_ND = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    labels_N = np.array([0, 0, 1, 1, 1])
    found = softmax_optimum(inputs_ND, labels_N, 2)
    entropy = -(2 * math.log(2 / 3) + math.log(1 / 3)) / 5
    assert found.loss_nats == pytest.approx(entropy, abs=1e-10)
    assert found.separability.separable is False
    assert linear_program(inputs_ND, labels_N, 2).separable is False


@settings(max_examples=40)
@given(
    input_dim=st.integers(1, 6),
    num_classes=st.integers(2, 6),
    num_samples=st.integers(1, 30),
    seed=st.integers(0, 1000),
    bias=st.booleans(),
)
def test_linear_program_and_newton_agree(
    input_dim: int, num_classes: int, num_samples: int, seed: int, bias: bool
) -> None:
    problem = LinearProblem(input_dim, num_classes, seed, bias)
    samples = problem.samples(num_samples)
    by_newton = softmax_optimum(*samples, num_classes).separability
    by_program = linear_program(*samples, num_classes)
    assert by_newton.separable is by_program.separable
    assert by_newton.separable is not None
    # Both are bounds on one and the same margin.
    assert by_newton.margin_at_least <= by_program.margin_at_most + 1e-12
    assert by_program.margin_at_least <= by_newton.margin_at_most + 1e-12


@given(seed=st.integers(0, 1000))
def test_no_weights_exceed_the_upper_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    inputs_ND, labels_N = LinearProblem(3, 4, seed).samples(8)
    bound = upper_bound(inputs_ND, labels_N, random.random((8, 4)))
    assert lower_bound(inputs_ND, labels_N, random.standard_normal((3, 4))) <= bound


@pytest.mark.parametrize("bias", [False, True])
def test_samples_are_those_of_the_data_set(bias: bool) -> None:
    config = RandomLabelsConfig(num_samples=20, batch_size=None, input_dim=4, num_classes=7)
    trained_on = RandomLabels(config, seed=5).training()
    inputs_ND, labels_N = LinearProblem(4, 7, 5, bias).samples(20)
    np.testing.assert_array_equal(inputs_ND[:, :4], trained_on.inputs_ND)
    np.testing.assert_array_equal(labels_N, trained_on.targets_N)
    assert inputs_ND.shape == (20, 4 + bias)
    assert (inputs_ND[:, 4:] == 1).all()
