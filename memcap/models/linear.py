"""One matrix from inputs to classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from memcap.config.model_schema import LinearConfig
from memcap.models.initialization import initial_bias, initial_matrix
from memcap.models.model import Activate, Model


class Linear(Model):
    """logits = x A (+ b), A [D, V]: the model of Memory 1 (Liu 2026); there is no hidden layer and no head."""

    config: LinearConfig

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        matrix: dict[str, tuple[int, ...]] = {"linear.weight": (self.data.num_inputs, self.data.num_outputs)}
        return matrix | ({"linear.bias": (self.data.num_outputs,)} if self.config.bias else {})

    def initialize(self, config: LinearConfig, seed: int) -> dict[str, np.ndarray]:
        num_in, num_out = self.data.num_inputs, self.data.num_outputs
        how = {"scheme": config.initialization, "scale": config.initialization_scale}
        values = {"linear.weight": initial_matrix(seed, "linear", num_in, num_out, **how)}  # type: ignore[arg-type]
        if config.bias:
            values["linear.bias"] = initial_bias(seed, "linear", num_in, num_out, **how)  # type: ignore[arg-type]
        return values

    def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate) -> Tensor:
        logits_MNV = torch.bmm(inputs_MND, parameters["linear.weight"])
        if self.config.bias:
            logits_MNV = logits_MNV + parameters["linear.bias"][:, None, :]
        return logits_MNV

    @property
    def num_parameters_effective(self) -> int:
        """(V - 1)(D + bias): adding the same vector to all columns of A changes no probability. V without softmax."""
        return self.num_outputs_effective * (self.data.num_inputs + self.config.bias)
