"""What an optimizer of a population is: scalars prepared in blocks of steps, and one update in place.

``torch.optim`` refuses a learning rate per member, and a step that asks the host for a scalar stalls a GPU.
So the work is split: ``coefficients`` computes all scalars of K steps at once in float64 on the host,
``update`` does nothing but elementwise arithmetic with row k of them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Optimizer(Protocol):
    """One update rule for M members with flat parameters [M, P]; holds no values and no state of its own."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state tensors; each is [M, P], in the parameter dtype, and zero at the start."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the per-member values that ``coefficients`` needs besides the learning rate."""

    def coefficients(
        self, learning_rate_KM: Tensor, first_step: int, values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """All per-step scalars of K consecutive steps, each float64 [K, M, 1].

        ``learning_rate_KM`` is float64 with the schedule applied, ``first_step`` the 0-based number of the
        first of the K steps, ``values`` holds a float64 [M] for each name in ``hyperparameters``, all on the
        host. Any split of a training into blocks gives the same scalars. A coefficient is absent where no
        member needs it (weight decay); ``update`` then leaves out that pass over memory.
        """

    def update(
        self, parameters_MP: Tensor, gradients_MP: Tensor, state: dict[str, Tensor], c: dict[str, Tensor]
    ) -> None:
        """One step, in place on the parameters and the state; the gradients are left as they are.

        ``c`` holds row k of the coefficients, each [M, 1], in the parameter dtype and on its device. The work
        is elementwise, so members never touch each other, and asks the host for nothing.
        """


def per_step(value_M: Tensor, num_steps: int) -> Tensor:
    """A value that is the same at every step, as a coefficient: [M] to [K, M, 1]."""
    return value_M[None, :, None].expand(num_steps, -1, -1)


def any_nonzero(value_M: Tensor) -> bool:
    """Whether any member needs this term; NaN counts as needed, so that it stays visible."""
    return bool(torch.any(value_M != 0))
