"""The autoencoder against a dense float64 reference, tied and untied, and its parameter counts against ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from model_cases import outputs, random_members, reached_dimensions

from memcap.config.schema import AutoencoderConfig, SparseFeaturesConfig
from memcap.models.autoencoder import Autoencoder
from memcap.models.initialization import initial_matrix
from memcap.models.model import flatten


def autoencoder(num_features: int = 6, **values: Any) -> Autoencoder:
    data = SparseFeaturesConfig(
        num_samples=None,
        num_features=num_features,
        active_probability=0.1,
        importance_decay=0.9,
        batch_size=4,
        evaluation_samples=4,
    )
    base: dict[str, Any] = {
        "width": 2,
        "tied": True,
        "bias": True,
        "initialization": "xavier",
        "initialization_scale": 1.0,
    }
    return Autoencoder(AutoencoderConfig(**{**base, **values}), data)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_forward_is_the_reference(tied: bool, bias: bool) -> None:
    model = autoencoder(tied=tied, bias=bias)
    members, inputs_MND = random_members(model, 3), np.random.default_rng(2).standard_normal((3, 7, 6))
    result = outputs(model, members, inputs_MND, torch.relu)
    for member, values in enumerate(members):
        encoder = values["encoder.weight"]
        decoder = encoder.T if tied else values["decoder.weight"]
        expected = inputs_MND[member] @ encoder @ decoder + (values["decoder.bias"] if bias else 0)
        np.testing.assert_allclose(result[member], np.maximum(expected, 0), rtol=1e-12, atol=1e-13)


def test_tied_is_untied_with_the_transpose() -> None:
    tied, untied = autoencoder(tied=True), autoencoder(tied=False)
    (member,) = random_members(tied, 1)
    inputs_MND = np.random.default_rng(3).standard_normal((1, 5, 6))
    full = {
        "encoder.weight": member["encoder.weight"],
        "decoder.weight": member["encoder.weight"].T,
        "decoder.bias": member["decoder.bias"],
    }
    np.testing.assert_allclose(
        outputs(untied, [full], inputs_MND, torch.tanh),
        outputs(tied, [member], inputs_MND, torch.tanh),
        rtol=1e-14,
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("num_features", "width"), [(6, 2), (5, 1), (4, 4), (3, 5)])
def test_parameter_counts(tied: bool, bias: bool, num_features: int, width: int) -> None:
    model = autoencoder(num_features, width=width, tied=tied, bias=bias)
    values = model.initialize(model.config, 0)
    assert {name: value.shape for name, value in values.items()} == model.shapes
    expected = num_features * width * (1 if tied else 2) + num_features * bias
    assert flatten(values).size == model.num_parameters == model.config.num_parameters(model.data) == expected
    assert model.num_parameters_without_head == expected
    # Of a tied one only W Wᵀ is seen, of an untied one the product: turning the hidden layer is free.
    assert model.num_parameters_effective == reached_dimensions(model, torch.tanh, up_to_free_logit=False)


@pytest.mark.parametrize("tied", [False, True])
def test_initial_values(tied: bool) -> None:
    model = autoencoder(tied=tied, initialization_scale=2.0)
    values = model.initialize(model.config, 5)
    encoder = 2 * initial_matrix(5, "encoder", 6, 2, scheme="xavier")
    np.testing.assert_array_equal(values["encoder.weight"], encoder)
    np.testing.assert_array_equal(values["decoder.bias"], np.zeros(6))
    if not tied:
        decoder = 2 * initial_matrix(5, "decoder", 2, 6, scheme="xavier")
        np.testing.assert_array_equal(values["decoder.weight"], decoder)
