"""The linear model against a dense float64 reference, and its parameter counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compositions import composed_config
from model_cases import outputs, random_members, reached_dimensions

from memcap.config.schema import LinearConfig, RandomLabelsConfig
from memcap.models import build_model
from memcap.models.initialization import initial_bias, initial_matrix
from memcap.models.linear import Linear
from memcap.models.model import flatten


def linear(bias: bool, input_dim: int = 4, num_classes: int = 3) -> Linear:
    data = RandomLabelsConfig(num_samples=1, input_dim=input_dim, num_classes=num_classes, batch_size=None)
    config = LinearConfig(bias=bias, initialization="uniform", initialization_scale=1.0)
    return Linear(config, data)


@pytest.mark.parametrize("bias", [False, True])
def test_forward_is_a_product(bias: bool) -> None:
    model, inputs_MND = linear(bias), np.random.default_rng(2).standard_normal((3, 7, 4))
    members = random_members(model, 3)
    result = outputs(model, members, inputs_MND, torch.tanh)
    for member, values in enumerate(members):
        expected = inputs_MND[member] @ values["linear.weight"]
        if bias:
            expected = expected + values["linear.bias"]
        np.testing.assert_allclose(result[member], expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("input_dim", "num_classes"), [(4, 3), (1, 2), (6, 2), (2, 7)])
def test_parameter_counts(bias: bool, input_dim: int, num_classes: int) -> None:
    model = linear(bias, input_dim, num_classes)
    values = model.initialize(model.config, 0)
    assert {name: value.shape for name, value in values.items()} == model.shapes
    expected = (input_dim + bias) * num_classes
    assert flatten(values).size == model.num_parameters == expected
    assert model.config.num_parameters(model.data) == expected
    assert model.num_parameters_without_head == expected  # it has no head
    reached = reached_dimensions(model, torch.tanh, up_to_free_logit=True)
    assert model.num_parameters_effective == reached == (num_classes - 1) * (input_dim + bias)


def test_initial_values_are_those_of_its_layer() -> None:
    model = linear(True)
    values = model.initialize(model.config, 5)
    np.testing.assert_array_equal(
        values["linear.weight"], initial_matrix(5, "linear", 4, 3, scheme="uniform")
    )
    np.testing.assert_array_equal(values["linear.bias"], initial_bias(5, "linear", 4, 3, scheme="uniform"))


def test_a_member_has_a_scale_of_its_own() -> None:
    model = linear(True)
    small = LinearConfig(bias=True, initialization="uniform", initialization_scale=0.5)
    np.testing.assert_array_equal(
        flatten(model.initialize(small, 1)), 0.5 * flatten(model.initialize(model.config, 1))
    )


def test_without_a_softmax_no_output_is_free() -> None:
    config = composed_config("model=linear", "objective=squared_error")
    assert build_model(config).num_parameters_effective == build_model(config).num_parameters == 100
    assert build_model(composed_config("model=linear")).num_parameters_effective == 90
