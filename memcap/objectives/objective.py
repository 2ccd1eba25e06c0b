"""What every objective is to the rest of the program."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """What an objective says of each sample, [M, N]."""

    loss_MN: Tensor
    code_length_nats_MN: Tensor | None  # None: the loss is no code length, and there are no bits
    correct_MN: Tensor | None  # None: nothing is right or wrong


class Objective(abc.ABC):
    """A loss per sample. ``loss_name`` is its metric's name, with its unit; the rest follows from the scores."""

    loss_name: ClassVar[str]

    def __init__(self, config: Any) -> None:
        self.config = config

    @abc.abstractmethod
    def losses(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Tensor:
        """Loss of each sample [M, N]; targets are classes [M, N] or features [M, N, F]."""

    @abc.abstractmethod
    def scores(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Scores:
        """The losses with all that is measured beside them."""
