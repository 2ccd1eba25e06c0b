"""What every network is to the rest of the program."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memcap.config.data_schema import DataConfig

Activate = Callable[[Tensor], Tensor]


class Model(abc.ABC):
    """M networks of one shape, trained as one; parameters come as a dict of stacked tensors.

    The object holds no weights. ``shapes`` names each parameter of a member with its shape; ``forward`` takes
    them with a leading member axis and must treat the members independently.
    """

    # Whether adding a number to all outputs changes nothing, as it does for a softmax; set by build_model.
    shift_invariant = True

    def __init__(self, config: Any, data: DataConfig) -> None:
        self.config = config
        self.data = data

    @property
    def num_outputs_effective(self) -> int:
        """Outputs that carry information: one logit is free under a softmax."""
        return self.data.num_outputs - self.shift_invariant

    @property
    @abc.abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each parameter, in the order in which they lie in the flat vector of P."""

    @abc.abstractmethod
    def initialize(self, config: Any, seed: int) -> dict[str, np.ndarray]:
        """Initial values of one member, float64; ``config`` is that member's (its scale may differ)."""

    @abc.abstractmethod
    def forward(self, parameters: dict[str, Tensor], inputs_MND: Tensor, activate: Activate) -> Tensor:
        """Outputs [M, N, V]; ``parameters[name]`` is [M, *shape]."""

    @property
    def num_parameters(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def num_parameters_without_head(self) -> int:
        """Without the matrix that maps to the classes; the same as all where there is no head."""
        return self.num_parameters

    @property
    def num_parameters_effective(self) -> int:
        """Dimensions of the set of functions that the parameters reach, as far as it is known."""
        return self.num_parameters


def flatten(values: dict[str, np.ndarray]) -> np.ndarray:
    """The parameters of one member as a vector of P."""
    return np.concatenate([value.ravel() for value in values.values()])


def unflatten(parameters_MP: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Views of the flat parameters by name, [M, *shape]; one split, so that its gradient is one concatenation."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = torch.split(parameters_MP, sizes, dim=1)
    return {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
