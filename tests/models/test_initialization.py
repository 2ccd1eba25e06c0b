"""Initial weights: their laws, one stream per layer, and the law of torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcap.models.initialization import initial_bias, initial_matrix

SCHEMES = ("uniform", "gaussian", "xavier")
FAN_IN, FAN_OUT = 80, 120


def matrix(scheme: str, seed: int = 0, layer: str = "hidden1", scale: float = 1.0) -> np.ndarray:
    return initial_matrix(seed, layer, FAN_IN, FAN_OUT, scheme=scheme, scale=scale)


@pytest.mark.parametrize(
    ("scheme", "bound"),
    [("uniform", 1 / math.sqrt(FAN_IN)), ("xavier", math.sqrt(6 / (FAN_IN + FAN_OUT)))],
)
def test_uniform_laws(scheme: str, bound: float) -> None:
    weights = matrix(scheme)
    assert weights.shape == (FAN_IN, FAN_OUT)
    assert weights.dtype == np.float64
    assert np.abs(weights).max() <= bound
    assert stats.kstest(weights.ravel(), "uniform", args=(-bound, 2 * bound)).pvalue > 1e-3


def test_gaussian_law() -> None:
    weights = matrix("gaussian")
    assert stats.kstest(weights.ravel() * math.sqrt(FAN_IN), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [("uniform", 1 / (3 * FAN_IN)), ("gaussian", 1 / FAN_IN), ("xavier", 2 / (FAN_IN + FAN_OUT))],
)
def test_variances(scheme: str, variance: float) -> None:
    weights = matrix(scheme)
    assert abs(weights.mean()) < 4 * math.sqrt(variance / weights.size)
    assert weights.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / weights.size))


def test_uniform_is_the_law_of_torch() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(FAN_IN, FAN_OUT, dtype=torch.float64)
    theirs, bound = linear.weight.detach().numpy().ravel(), 1 / math.sqrt(FAN_IN)
    ours = matrix("uniform").ravel()
    assert np.abs(theirs).max() <= bound
    assert np.abs(theirs).max() == pytest.approx(np.abs(ours).max(), rel=1e-3)
    assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    biases = np.concatenate(
        [initial_bias(seed, "hidden1", FAN_IN, FAN_OUT, scheme="uniform") for seed in range(80)]
    )
    their_biases = np.concatenate(
        [torch.nn.Linear(FAN_IN, FAN_OUT).bias.detach().double().numpy() for _ in range(80)]
    )
    assert np.abs(biases).max() == pytest.approx(np.abs(their_biases).max(), rel=1e-3)
    assert stats.ks_2samp(biases, their_biases).pvalue > 1e-3


@pytest.mark.parametrize("scheme", ["gaussian", "xavier"])
def test_biases_of_other_laws_are_zero(scheme: str) -> None:
    np.testing.assert_array_equal(initial_bias(0, "head", 4, 3, scheme=scheme), np.zeros(3))


@given(scheme=st.sampled_from(SCHEMES), scale=st.floats(0, 1e6), seed=st.integers(0, 2**63 - 1))
def test_the_scale_multiplies(scheme: str, scale: float, seed: int) -> None:
    how = {"scheme": scheme, "scale": scale}
    np.testing.assert_array_equal(
        initial_matrix(seed, "a", 3, 2, **how),  # type: ignore[arg-type]
        scale * initial_matrix(seed, "a", 3, 2, scheme=scheme),
    )
    np.testing.assert_array_equal(
        initial_bias(seed, "a", 3, 2, **how),  # type: ignore[arg-type]
        scale * initial_bias(seed, "a", 3, 2, scheme=scheme),
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_seeds_and_biases_have_streams_of_their_own(scheme: str) -> None:
    np.testing.assert_array_equal(matrix(scheme), matrix(scheme))
    drawn = [matrix(scheme), matrix(scheme, layer="hidden2"), matrix(scheme, seed=1)]
    if scheme == "uniform":
        drawn.append(
            np.broadcast_to(initial_bias(0, "hidden1", FAN_IN, FAN_OUT, scheme=scheme), (FAN_IN, FAN_OUT))
        )
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert not np.any(one == other)


def test_schemes_share_their_numbers() -> None:
    """The two uniform laws differ by a factor, so a comparison of schemes compares no luck."""
    ratio = math.sqrt(6 * FAN_IN / (FAN_IN + FAN_OUT))
    np.testing.assert_allclose(matrix("xavier"), ratio * matrix("uniform"), rtol=1e-12, atol=1e-16)


def test_a_layer_does_not_depend_on_the_sizes_of_others() -> None:
    expected = initial_matrix(0, "output", 4, 5, scheme="uniform")
    initial_matrix(0, "hidden1", 1000, 10, scheme="uniform")
    np.testing.assert_array_equal(initial_matrix(0, "output", 4, 5, scheme="uniform"), expected)
