"""What an optimizer of a population is: scalars prepared in blocks of steps, and one update in place.

``torch.optim`` refuses a learning rate per member, and a step that asks the host for a scalar stalls a GPU.
So the work is split: ``coefficients`` computes all scalars of K steps at once in float64 on the host,
``update`` does nothing but elementwise arithmetic with row k of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

# Mean loss [M] of each member over its whole training set, and its gradient [M, P], at any parameters [M, P].
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]


class Optimizer(Protocol):
    """One update rule for M members with flat parameters [M, P]; holds no values and no state of its own.

    One that knows where it becomes unstable also has the methods of ``KnowsStability``; they are no duty.
    """

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


@runtime_checkable
class Searching(Protocol):
    """An optimizer whose step depends on the loss that it finds: it evaluates, and has no scalars made beforehand.

    Takes full batches only, since losses of two batches cannot be compared; the batched engine alone trains with it.
    Its learning rate is what it says itself, without a schedule (``memcap.config.searching``).
    """

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the per-member values that ``step`` needs besides the learning rate."""

    def state_shapes(self, num_parameters: int) -> dict[str, tuple[int, ...]]:
        """Name and shape of each state tensor of one member; [M, *shape], in the parameter dtype, zero at the start."""

    def step(
        self,
        parameters_MP: Tensor,
        state: dict[str, Tensor],
        values: dict[str, Tensor],
        evaluate: Evaluate,
    ) -> None:
        """One evaluation of all members and what follows from it, in place on the parameters and the state.

        ``values`` holds a float64 [M] on the host for the learning rate and each name in ``hyperparameters``. Nothing
        else than the arguments enters, so a training goes on from its state with the same bits.
        """


@runtime_checkable
class KnowsStability(Protocol):
    """An optimizer that says up to which curvature its steps are stable.

    On a quadratic with Hessian H, full batches, a constant rate and a frozen state, its update is linear. It
    converges as long as every eigenvalue of D⁻¹H lies between 0 and the threshold, and blows up beyond. So
    the sharpness to compare with the threshold is the largest eigenvalue of D⁻¹H (Cohen et al. 2021, arXiv
    2103.00065; with D: Cohen et al. 2022, arXiv 2207.14484).

    H is the Hessian of what the optimizer takes the gradient of. Weight decay λ as an L2 term belongs to it:
    H = ∇²loss + λ I. Decoupled decay does not; it lowers the threshold.

    Not every optimizer has these methods: ask ``isinstance(optimizer, KnowsStability)``, or ``getattr`` with
    a default, and leave the comparison out where they are missing.
    """

    def preconditioner(self, state: dict[str, Tensor], step: int, values: dict[str, Tensor]) -> Tensor | None:
        """Diagonal of D, positive, [M, P] in the dtype and on the device of the state; None if D = I.

        ``step`` counts the updates done, ``state`` and ``values`` are as in ``Optimizer``. Also None where the
        state does not define D yet, which is so before the first update.
        """

    def l2_penalty(self, values: dict[str, Tensor]) -> Tensor:
        """λ of the L2 term that is part of H, float64 [M]; 0 where there is none, or decay is decoupled."""

    def stability_threshold(self, learning_rate_M: Tensor, values: dict[str, Tensor]) -> Tensor:
        """Largest stable eigenvalue of D⁻¹H at this learning rate, float64 [M]; infinite at a rate of 0."""


def per_step(value_M: Tensor, num_steps: int) -> Tensor:
    """A value that is the same at every step, as a coefficient: [M] to [K, M, 1]."""
    return value_M[None, :, None].expand(num_steps, -1, -1)


def any_nonzero(value_M: Tensor) -> bool:
    """Whether any member needs this term; NaN counts as needed, so that it stays visible."""
    return bool(torch.any(value_M != 0))
