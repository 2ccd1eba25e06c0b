"""The MLP against a dense float64 reference, and its parameter counts against ranks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_cases import outputs, random_members, reached_dimensions

from memcap.config.schema import MlpConfig, RandomLabelsConfig
from memcap.models.initialization import initial_bias, initial_matrix
from memcap.models.mlp import Mlp
from memcap.models.model import flatten


def mlp(input_dim: int = 4, num_classes: int = 3, **values: Any) -> Mlp:
    data = RandomLabelsConfig(num_samples=1, input_dim=input_dim, num_classes=num_classes, batch_size=None)
    base: dict[str, Any] = {
        "width": 5,
        "depth": 1,
        "output_dim": None,
        "bias": False,
        "residual": False,
        "initialization": "uniform",
        "initialization_scale": 1.0,
    }
    return Mlp(MlpConfig(**{**base, **values}).resolved(data), data)


def reference(model: Mlp, values: dict[str, np.ndarray], inputs_ND: np.ndarray) -> np.ndarray:
    """One member with numpy, layer by layer."""

    def affine(name: str, inputs: np.ndarray) -> np.ndarray:
        result = inputs @ values[f"{name}.weight"]
        return result + values[f"{name}.bias"] if model.config.bias else result

    hidden = np.tanh(affine("hidden1", inputs_ND))
    for layer in range(2, model.config.depth + 1):
        activated = np.tanh(affine(f"hidden{layer}", hidden))
        hidden = hidden + activated if model.config.residual else activated
    return affine("head", affine("output", hidden))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("output_dim", [None, 2, 9])
def test_forward_is_the_reference(depth: int, bias: bool, residual: bool, output_dim: int | None) -> None:
    model = mlp(depth=depth, bias=bias, residual=residual, output_dim=output_dim)
    members, inputs_MND = random_members(model, 3), np.random.default_rng(2).standard_normal((3, 7, 4))
    result = outputs(model, members, inputs_MND, torch.tanh)
    for member, values in enumerate(members):
        expected = reference(model, values, inputs_MND[member])
        np.testing.assert_allclose(result[member], expected, rtol=1e-12, atol=1e-13)


def test_residual_changes_nothing_at_depth_one() -> None:
    plain, residual = mlp(residual=False), mlp(residual=True)
    members, inputs_MND = random_members(plain, 2), np.ones((2, 3, 4))
    np.testing.assert_array_equal(
        outputs(plain, members, inputs_MND, torch.tanh), outputs(residual, members, inputs_MND, torch.tanh)
    )


SIZES = {
    "input_dim": st.integers(1, 30),
    "num_classes": st.integers(2, 30),
    "width": st.integers(1, 30),
    "depth": st.integers(1, 5),
    "output_dim": st.none() | st.integers(1, 30),
    "bias": st.booleans(),
}


@given(sizes=st.fixed_dictionaries(SIZES))
def test_the_number_of_parameters_is_the_number_of_values(sizes: dict[str, Any]) -> None:
    model = mlp(**sizes)
    values = model.initialize(model.config, 0)
    assert {name: value.shape for name, value in values.items()} == model.shapes
    assert flatten(values).size == model.num_parameters == model.config.num_parameters(model.data)
    head = sum(values[name].size for name in values if name.startswith("head."))
    assert model.num_parameters_without_head == model.num_parameters - head
    assert model.num_parameters_effective < model.num_parameters


def test_the_counts_of_memory_2() -> None:
    """D = V = 10, width W: 10 W + 10 W + 100, of which the head has 100 (Liu 2026)."""
    model = mlp(input_dim=10, num_classes=10, width=16)
    assert (model.num_parameters, model.num_parameters_without_head) == (420, 320)
    assert model.num_parameters_effective == 160 + 9 * (16 + 9 - 9)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 4, "num_classes": 5},  # rank bounded by the classes' degrees of freedom
        {"width": 3, "num_classes": 6},  # ... by the width
        {"width": 4, "num_classes": 6, "output_dim": 2},  # ... by the output dimension
        {"width": 3, "num_classes": 3, "output_dim": 8},
        {"width": 3, "depth": 2, "num_classes": 4},
        {"width": 3, "depth": 2, "num_classes": 4, "output_dim": 1, "residual": True},
        {"width": 2, "depth": 3, "num_classes": 2},
        {"width": 1, "num_classes": 2, "output_dim": 1},
    ],
    ids=str,
)
def test_effective_parameters_are_the_dimensions_that_are_reached(bias: bool, sizes: dict[str, Any]) -> None:
    model = mlp(input_dim=3, bias=bias, **sizes)
    reached = reached_dimensions(model, torch.tanh, up_to_free_logit=True)
    assert model.num_parameters_effective == reached


def test_initial_values_are_those_of_each_layer() -> None:
    model = mlp(depth=2, bias=True, output_dim=6, initialization_scale=0.3)
    values = model.initialize(model.config, 5)
    layers = {"hidden1": (4, 5), "hidden2": (5, 5), "output": (5, 6), "head": (6, 3)}
    assert list(values) == [f"{name}.{part}" for name in layers for part in ("weight", "bias")]
    for name, (fan_in, fan_out) in layers.items():
        how: dict[str, Any] = {"scheme": "uniform", "scale": 0.3}
        weight, bias = values[f"{name}.weight"], values[f"{name}.bias"]
        np.testing.assert_array_equal(weight, initial_matrix(5, name, fan_in, fan_out, **how))
        np.testing.assert_array_equal(bias, initial_bias(5, name, fan_in, fan_out, **how))


def test_a_member_has_a_scale_of_its_own() -> None:
    model = mlp()
    half = dataclasses.replace(model.config, initialization_scale=0.5)
    whole = flatten(model.initialize(model.config, 1))
    np.testing.assert_array_equal(flatten(model.initialize(half, 1)), 0.5 * whole)
