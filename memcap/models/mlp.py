"""Hidden layers of one width, an output layer and a head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from memcap.config.model_schema import MlpConfig
from memcap.models.initialization import initial_bias, initial_matrix
from memcap.models.model import Activate, Model


class Mlp(Model):
    """x -> act(x A1) -> ... -> act(h AL) -> h B -> logits = (h B) C.

    A1 is [D, W], A2..AL [W, W], B [W, output_dim], C [output_dim, V]; between B and the head C stands no
    activation. ``depth`` L counts hidden layers: depth 1 is what Memory 2 (Liu 2026) calls a two-layer MLP.
    ``residual`` adds h to act(h A) in the W -> W layers.
    """

    config: MlpConfig

    def _layers(self) -> list[tuple[str, int, int]]:
        dims = self.config.layer_dims(self.data)
        names = [f"hidden{i + 1}" for i in range(self.config.depth)] + ["output", "head"]
        return list(zip(names, dims, dims[1:], strict=False))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for name, fan_in, fan_out in self._layers():
            shapes[f"{name}.weight"] = (fan_in, fan_out)
            if self.config.bias:
                shapes[f"{name}.bias"] = (fan_out,)
        return shapes

    def initialize(self, config: MlpConfig, seed: int) -> dict[str, np.ndarray]:
        scheme, scale = config.initialization, config.initialization_scale
        values = {}
        for name, fan_in, fan_out in self._layers():
            values[f"{name}.weight"] = initial_matrix(seed, name, fan_in, fan_out, scheme=scheme, scale=scale)
            if config.bias:
                values[f"{name}.bias"] = initial_bias(seed, name, fan_in, fan_out, scheme=scheme, scale=scale)
        return values

    def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate) -> Tensor:
        hidden_MNW = inputs_MND
        for layer in range(self.config.depth):
            activated_MNW = activate(self._affine(parameters, f"hidden{layer + 1}", hidden_MNW))
            skips = self.config.residual and layer > 0
            hidden_MNW = hidden_MNW + activated_MNW if skips else activated_MNW
        return self._affine(parameters, "head", self._affine(parameters, "output", hidden_MNW))

    def _affine(self, parameters: dict[str, Tensor], name: str, inputs: Tensor) -> Tensor:
        if self.config.bias:
            return torch.baddbmm(parameters[f"{name}.bias"][:, None, :], inputs, parameters[f"{name}.weight"])
        return torch.bmm(inputs, parameters[f"{name}.weight"])

    @property
    def num_parameters_without_head(self) -> int:
        _, fan_in, fan_out = self._layers()[-1]
        return self.num_parameters - (fan_in + self.config.bias) * fan_out

    @property
    def num_parameters_effective(self) -> int:
        """Output layer and head multiply to one matrix [W, V], of which one column is free.

        It has W (V - 1) entries, and r (W + V - 1 - r) dimensions when the output dimension bounds its rank to
        r; one bias of V - 1 remains of the two.
        """
        layers = self._layers()
        hidden = sum((fan_in + self.config.bias) * fan_out for _, fan_in, fan_out in layers[:-2])
        width, free = layers[-2][1], self.num_outputs_effective
        rank = min(width, layers[-1][1], free)
        return hidden + rank * (width + free - rank) + (free if self.config.bias else 0)
