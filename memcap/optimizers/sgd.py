"""Stochastic gradient descent with momentum and L2 weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from memcap.optimizers.optimizer import any_nonzero, per_step


@dataclass(frozen=True)
class Sgd:
    r"""Heavy-ball gradient descent in the convention of ``torch.optim.SGD``.

    .. math:: g' = g + \lambda\theta, \qquad b \leftarrow \mu b + g', \qquad \theta \leftarrow \theta - \eta b

    with learning rate η, momentum μ and weight decay λ of the member. Here b starts at zero, which gives the
    first buffer g' as in torch; there is no dampening (a factor 1 - μ on g'), so at a constant gradient the
    steps grow to η g / (1 - μ). Polyak (1964); this form: Sutskever et al. (2013).
    """

    state_names: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    hyperparameters: ClassVar[tuple[str, ...]] = ("momentum", "weight_decay")

    def coefficients(
        self, learning_rate_KM: Tensor, first_step: int, values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """``step_size`` (-η), ``momentum`` and, if any member has one, ``weight_decay``; each [K, M, 1]."""
        num_steps = learning_rate_KM.shape[0]
        coefficients = {
            "step_size": -learning_rate_KM[:, :, None],
            "momentum": per_step(values["momentum"], num_steps),
        }
        if any_nonzero(values["weight_decay"]):
            coefficients["weight_decay"] = per_step(values["weight_decay"], num_steps)
        return coefficients

    @torch.no_grad()
    def update(
        self, parameters_MP: Tensor, gradients_MP: Tensor, state: dict[str, Tensor], c: dict[str, Tensor]
    ) -> None:
        """One step in two passes over memory, three with weight decay."""
        if "weight_decay" in c:
            gradients_MP = torch.addcmul(gradients_MP, parameters_MP, c["weight_decay"])
        buffer_MP = state["momentum_buffer"]
        # The buffer is kept even where every momentum is 0: what a member's state holds must not depend on
        # who its neighbours are.
        torch.addcmul(gradients_MP, buffer_MP, c["momentum"], out=buffer_MP)
        parameters_MP.addcmul_(buffer_MP, c["step_size"])

    def preconditioner(self, state: dict[str, Tensor], step: int, values: dict[str, Tensor]) -> Tensor | None:
        """None at every step: the gradient is not rescaled."""
        return None

    def l2_penalty(self, values: dict[str, Tensor]) -> Tensor:
        """The weight decay."""
        return values["weight_decay"]

    def stability_threshold(self, learning_rate_M: Tensor, values: dict[str, Tensor]) -> Tensor:
        r"""(2 + 2μ) / η, which is 2 / η without momentum; infinite at η = 0.

        Along an eigenvector with curvature h the step maps (θ, b) by a matrix of determinant μ and trace
        1 + μ - ηh, whose eigenvalue reaches -1 at that h. Momentum widens the stable range because the buffer
        sums gradients of alternating sign. Cohen et al. 2021, arXiv 2103.00065, appendix B.
        """
        return (2 + 2 * values["momentum"]) / learning_rate_M
