"""Chains: traced layers against the forward pass, and arithmetic to the bit."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from model_cases import random_members
from population_cases import small_config

from memcap.models import build_model
from memcap.models.chain import Chain, Layer
from memcap.models.model import flatten, unflatten
from memcap.models.product import product

CASES = {
    "linear": ("model=linear", "model.bias=false"),
    "linear bias": ("model=linear", "model.bias=true"),
    "mlp": ("model=mlp",),
    "deep": ("model=mlp", "model.depth=3", "model.bias=true", "model.residual=true", "model.output_dim=2"),
}


def chain(*overrides: str) -> Chain:
    model = build_model(small_config(*overrides))
    assert isinstance(model, Chain)
    return model


def parameters_and_inputs(model: Chain, num_members: int = 3) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    flat = np.stack([flatten(values) for values in random_members(model, num_members)])
    inputs_MND = np.random.default_rng(2).standard_normal((num_members, 7, model.data.num_inputs))
    return unflatten(torch.from_numpy(flat), model.shapes), torch.from_numpy(inputs_MND)


def test_the_layers_of_an_mlp() -> None:
    assert chain(*CASES["deep"]).layers == (
        Layer("hidden1", 4, 5, activated=True, skips=False),
        Layer("hidden2", 5, 5, activated=True, skips=True),
        Layer("hidden3", 5, 5, activated=True, skips=True),
        Layer("output", 5, 2, activated=False, skips=False),
        Layer("head", 2, 3, activated=False, skips=False),
    )


@pytest.mark.parametrize("case", CASES)
def test_layers_say_shapes_and_initial_values(case: str) -> None:
    model = chain(*CASES[case])
    dims = [layer.fan_in for layer in model.layers] + [model.layers[-1].fan_out]
    assert (dims[0], dims[-1]) == (model.data.num_inputs, model.data.num_outputs)
    assert all(a.fan_out == b.fan_in for a, b in itertools.pairwise(model.layers))
    assert all(layer.fan_in == layer.fan_out for layer in model.layers if layer.skips)
    values = model.initialize(model.config, 0)
    assert {name: value.shape for name, value in values.items()} == model.shapes
    assert list(values) == list(model.shapes)


@pytest.mark.parametrize("case", CASES)
def test_a_trace_is_the_forward_pass(case: str) -> None:
    model = chain(*CASES[case])
    parameters, inputs_MND = parameters_and_inputs(model)
    outputs_MNV, trace = model.traced(parameters, inputs_MND, torch.tanh)
    assert torch.equal(outputs_MNV, model.forward(parameters, inputs_MND, torch.tanh))
    assert list(trace) == [layer.name for layer in model.layers]
    entering = inputs_MND
    for layer in model.layers:
        inputs_MNI, preactivations_MNO = trace[layer.name]
        assert torch.equal(inputs_MNI, entering)
        expected = inputs_MNI @ parameters[f"{layer.name}.weight"]
        if model.config.bias:
            expected = expected + parameters[f"{layer.name}.bias"][:, None, :]
        torch.testing.assert_close(preactivations_MNO, expected, rtol=1e-13, atol=1e-13)
        passed = torch.tanh(preactivations_MNO) if layer.activated else preactivations_MNO
        entering = inputs_MNI + passed if layer.skips else passed
    assert torch.equal(outputs_MNV, entering)


@pytest.mark.parametrize("num_samples", [9, 41])  # either side of the 10 outputs: two layouts of the product
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_the_bias_is_added(dtype: torch.dtype, num_samples: int) -> None:
    """An MLP adds its bias within the product, the linear model after it: the last bits may differ."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    inputs_MND, weight, bias = drawn(32, num_samples, 33), drawn(32, 33, 10), drawn(32, 10)
    layer = Layer("linear", 33, 10, activated=False)
    parameters = {"linear.weight": weight, "linear.bias": bias}
    after = product(inputs_MND, weight) + bias[:, None, :]
    within = product(inputs_MND, weight, bias)
    assert (after.stride(1) == 1) == (num_samples > 10)
    # Along the samples, the library of matrices may itself add the bias last.
    assert num_samples > 10 or not torch.equal(after, within)
    assert torch.equal(chain(*CASES["linear bias"]).affine(parameters, layer, inputs_MND), after)
    assert torch.equal(chain(*CASES["deep"]).affine(parameters, layer, inputs_MND), within)


def test_a_chain_of_ones_own_is_its_layers() -> None:
    class Funnel(Chain):
        layers: Any = (Layer("in", 4, 2, activated=True), Layer("out", 2, 3, activated=False))

    model = Funnel(small_config("model=linear", "model.bias=true").model, chain(*CASES["linear"]).data)
    assert model.shapes == {"in.weight": (4, 2), "in.bias": (2,), "out.weight": (2, 3), "out.bias": (3,)}
    parameters, inputs_MND = parameters_and_inputs(model)
    hidden = torch.relu(inputs_MND @ parameters["in.weight"] + parameters["in.bias"][:, None])
    expected = hidden @ parameters["out.weight"] + parameters["out.bias"][:, None]
    torch.testing.assert_close(model.forward(parameters, inputs_MND, torch.relu), expected)
