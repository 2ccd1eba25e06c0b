"""One matrix from inputs to classes."""

from __future__ import annotations

import functools

from torch import Tensor

from memcap.config.model_schema import LinearConfig
from memcap.models.chain import Chain, Layer
from memcap.models.product import product


class Linear(Chain):
    """logits = x A (+ b), A [D, V]: the model of Memory 1 (Liu 2026); there is no hidden layer and no head."""

    config: LinearConfig

    @functools.cached_property
    def layers(self) -> tuple[Layer, ...]:
        return (Layer("linear", self.data.num_inputs, self.data.num_outputs, activated=False),)

    def affine(self, parameters: dict[str, Tensor], layer: Layer, inputs_MNI: Tensor) -> Tensor:
        # The bias is added after the product is rounded; that of other chains, added within, may differ in a last bit.
        logits_MNV = product(inputs_MNI, parameters["linear.weight"])
        return logits_MNV + parameters["linear.bias"][:, None, :] if self.config.bias else logits_MNV

    @property
    def num_parameters_effective(self) -> int:
        """(V - 1)(D + bias): adding the same vector to all columns of A changes no probability. V without softmax."""
        return self.num_outputs_effective * (self.data.num_inputs + self.config.bias)
