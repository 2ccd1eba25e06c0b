"""The network of a recorded run, ready to be called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import overload

import numpy as np
import torch
from torch import Tensor

from memcap.config.fields import per_member_fields
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput
from memcap.models import build_activation, build_model

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TrainedModel:
    """Outputs [N, V] for inputs [N, D]: logits of the classes, or reconstructed features.

    It is the network that was trained, as a population of one, on the CPU, in the dtype of the run. ``parameters``
    holds its weights by name; changing them changes the network.
    """

    def __init__(self, config: RunConfig, weights: Mapping[str, np.ndarray]) -> None:
        self.dtype = _DTYPES[config.hardware.dtype]
        self.num_inputs = config.data.num_inputs
        self.network = build_model(config)
        self.parameters = {name: torch.tensor(array, dtype=self.dtype) for name, array in weights.items()}
        activation = config.activation
        values = {name: getattr(activation, name) for name in per_member_fields(type(activation))}
        self._activate = build_activation(
            config, {name: torch.full((1, 1, 1), value, dtype=self.dtype) for name, value in values.items()}
        )

    @overload
    def __call__(self, inputs_ND: np.ndarray) -> np.ndarray: ...

    @overload
    def __call__(self, inputs_ND: Tensor) -> Tensor: ...

    def __call__(self, inputs_ND: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """NumPy gives NumPy; torch gives torch, differentiable with respect to inputs and ``parameters``."""
        if tuple(inputs_ND.shape[1:]) != (self.num_inputs,):
            raise BadInput(f"inputs must be [N, {self.num_inputs}], got {list(inputs_ND.shape)}")
        if isinstance(inputs_ND, Tensor):
            return self._forward(inputs_ND.to("cpu", self.dtype)).to(inputs_ND.device)
        with torch.no_grad():
            outputs_NV: np.ndarray = self._forward(torch.tensor(inputs_ND, dtype=self.dtype)).numpy()
        return outputs_NV

    def _forward(self, inputs_ND: Tensor) -> Tensor:
        stacked = {name: tensor[None] for name, tensor in self.parameters.items()}
        return self.network.forward(stacked, inputs_ND[None], self._activate)[0]
