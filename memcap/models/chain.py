"""Networks in which one layer feeds the next."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from torch import Tensor

from memcap.models.initialization import initial_bias, initial_matrix
from memcap.models.model import Activate, Model
from memcap.models.product import product

# By layer: its inputs [M, N, fan_in] and its preactivations [M, N, fan_out].
Trace = dict[str, tuple[Tensor, Tensor]]


class Layer(NamedTuple):
    """h -> z = h A (+ b), A [fan_in, fan_out]; then act(z) if ``activated``, and h + that if it ``skips``."""

    name: str
    fan_in: int
    fan_out: int
    activated: bool
    skips: bool = False


class Chain(Model):
    """A feed-forward network told by its ``layers``; each has a weight of its own, and all or none have a bias.

    That no weight is used twice and samples meet nowhere is what per-sample gradients are read from
    (`measures.conflict`), and what an engine without automatic differentiation may build on.
    """

    @property
    @abc.abstractmethod
    def layers(self) -> tuple[Layer, ...]:
        """The layers from the inputs to the outputs."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            shapes[f"{layer.name}.weight"] = (layer.fan_in, layer.fan_out)
            if self.config.bias:
                shapes[f"{layer.name}.bias"] = (layer.fan_out,)
        return shapes

    def initialize(self, config: Any, seed: int) -> dict[str, np.ndarray]:
        scheme, scale = config.initialization, config.initialization_scale
        values = {}
        for name, fan_in, fan_out, *_ in self.layers:
            values[f"{name}.weight"] = initial_matrix(seed, name, fan_in, fan_out, scheme=scheme, scale=scale)
            if config.bias:
                values[f"{name}.bias"] = initial_bias(seed, name, fan_in, fan_out, scheme=scheme, scale=scale)
        return values

    def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate) -> Tensor:
        hidden = inputs_MND
        for layer in self.layers:
            hidden = _passed_on(layer, hidden, self.affine(parameters, layer, hidden), activate)
        return hidden

    def traced(
        self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate
    ) -> tuple[Tensor, Trace]:
        """The outputs [M, N, V] of ``forward``, bit for bit, with what entered and left each affine map."""
        hidden, trace = inputs_MND, {}
        for layer in self.layers:
            preactivations_MNO = self.affine(parameters, layer, hidden)
            trace[layer.name] = (hidden, preactivations_MNO)
            hidden = _passed_on(layer, hidden, preactivations_MNO, activate)
        return hidden, trace

    def affine(self, parameters: dict[str, Tensor], layer: Layer, inputs_MNI: Tensor) -> Tensor:
        """Preactivations h A (+ b), [M, N, fan_out], of one layer; another rounding of it is all to override."""
        weight_MIO = parameters[f"{layer.name}.weight"]
        return product(inputs_MNI, weight_MIO, parameters.get(f"{layer.name}.bias"))


def told_by_layers(model: Model) -> TypeGuard[Chain]:
    """Whether a model is what its layers say: a chain, and without a forward pass of its own."""
    return isinstance(model, Chain) and type(model).forward is Chain.forward


def _passed_on(layer: Layer, inputs_MNI: Tensor, preactivations_MNO: Tensor, activate: Activate) -> Tensor:
    """What a layer gives to the next."""
    outputs_MNO = activate(preactivations_MNO) if layer.activated else preactivations_MNO
    return inputs_MNI + outputs_MNO if layer.skips else outputs_MNO
