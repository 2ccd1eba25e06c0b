"""Adam and AdamW: steps scaled by running averages of the gradient and of its square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from memcap.optimizers.optimizer import any_nonzero, per_step


@dataclass(frozen=True)
class Adam:
    r"""Adam in the convention of ``torch.optim.Adam``; with ``decoupled``, of ``torch.optim.AdamW``.

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g', \qquad v \leftarrow \beta_2 v + (1-\beta_2) g'^2, \qquad
        \theta \leftarrow \theta'
            - \eta \frac{m / (1-\beta_1^t)}{\sqrt{v / (1-\beta_2^t)} + \epsilon}

    at step t = 1, 2, ... with the learning rate η and the other values of the member. Weight decay λ is an L2
    term, g' = g + λθ and θ' = θ (Kingma and Ba 2015, arXiv 1412.6980), or decoupled, g' = g and
    θ' = (1 - ηλ)θ (Loshchilov and Hutter 2019, arXiv 1711.05101).

    The bias corrections are scalars of the step, so they are moved out of the passes over memory:
    the step is η √(1-β₂ᵗ)/(1-β₁ᵗ) · m / (√v + ε√(1-β₂ᵗ)), the same number up to rounding.
    """

    decoupled: bool = False

    state_names: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    hyperparameters: ClassVar[tuple[str, ...]] = ("beta1", "beta2", "epsilon", "weight_decay")

    def coefficients(
        self, learning_rate_KM: Tensor, first_step: int, values: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The scalars of the formula above, each [K, M, 1].

        ``step_size`` (-η √(1-β₂ᵗ)/(1-β₁ᵗ)), ``epsilon`` (ε √(1-β₂ᵗ)), ``gradient_weight`` (1-β₁),
        ``square_weight`` (1-β₂) and, if any member decays, ``weight_decay`` (λ) or ``shrinkage`` (1-ηλ).
        """
        num_steps = learning_rate_KM.shape[0]
        step_K1 = torch.arange(
            first_step + 1, first_step + num_steps + 1, dtype=torch.float64, device=learning_rate_KM.device
        )[:, None]
        mean_correction_KM = 1 - values["beta1"] ** step_K1
        square_correction_KM = torch.sqrt(1 - values["beta2"] ** step_K1)
        step_size_KM = -learning_rate_KM * square_correction_KM / mean_correction_KM
        coefficients = {
            "step_size": step_size_KM[:, :, None],
            "epsilon": (values["epsilon"] * square_correction_KM)[:, :, None],
            # Subtracted in float64: 1 - 0.999 in float32 is off by 5e-5 of itself.
            "gradient_weight": per_step(1 - values["beta1"], num_steps),
            "square_weight": per_step(1 - values["beta2"], num_steps),
        }
        weight_decay_M = values["weight_decay"]
        if any_nonzero(weight_decay_M):
            if self.decoupled:
                coefficients["shrinkage"] = (1 - learning_rate_KM * weight_decay_M)[:, :, None]
            else:
                coefficients["weight_decay"] = per_step(weight_decay_M, num_steps)
        return coefficients

    @torch.no_grad()
    def update(
        self, parameters_MP: Tensor, gradients_MP: Tensor, state: dict[str, Tensor], c: dict[str, Tensor]
    ) -> None:
        """One step in seven passes over memory, eight with weight decay, and one scratch tensor [M, P]."""
        mean_MP, square_MP = state["exp_avg"], state["exp_avg_sq"]
        if "shrinkage" in c:
            parameters_MP.mul_(c["shrinkage"])
        if "weight_decay" in c:
            gradients_MP = torch.addcmul(gradients_MP, parameters_MP, c["weight_decay"])
        mean_MP.lerp_(gradients_MP, c["gradient_weight"])
        scratch_MP = torch.square(gradients_MP)
        square_MP.lerp_(scratch_MP, c["square_weight"])
        torch.sqrt(square_MP, out=scratch_MP)
        scratch_MP.add_(c["epsilon"])
        torch.div(mean_MP, scratch_MP, out=scratch_MP)
        # The step size multiplies last and is never divided by: it is 0 where a schedule ends at 0.
        parameters_MP.addcmul_(scratch_MP, c["step_size"])

    @torch.no_grad()
    def preconditioner(self, state: dict[str, Tensor], step: int, values: dict[str, Tensor]) -> Tensor | None:
        r"""What the gradient's running average m was divided by at step t, which is ``step``; None at t = 0.

        .. math:: D_t = (1-\beta_1^t) \left(\sqrt{v_t / (1-\beta_2^t)} + \epsilon\right)

        so that the step is -η m / D_t (Cohen et al. 2022, arXiv 2207.14484, their P_t). At t = 0, where v = 0,
        there is no such step.
        """
        if step == 0:
            return None
        square_MP = state["exp_avg_sq"]
        mean_correction_M = 1 - values["beta1"] ** step
        square_correction_M = torch.sqrt(1 - values["beta2"] ** step)
        root_MP = square_MP.sqrt() / square_correction_M[:, None].to(square_MP)
        root_MP += values["epsilon"][:, None].to(square_MP)
        return root_MP.mul_(mean_correction_M[:, None].to(square_MP))

    def l2_penalty(self, values: dict[str, Tensor]) -> Tensor:
        """The weight decay, unless it is decoupled."""
        decay_M = values["weight_decay"]
        return torch.zeros_like(decay_M) if self.decoupled else decay_M

    def stability_threshold(self, learning_rate_M: Tensor, values: dict[str, Tensor]) -> Tensor:
        r"""(2 + 2β₁) / (η (1 - β₁)): 38 / η at β₁ = 0.9. With decoupled decay λ, 2 - ηλ stands for the first 2.

        With D fixed, Adam is gradient descent with momentum as a running average. Along an eigenvector of D⁻¹H
        with eigenvalue s it maps (θ, m) by a matrix of determinant aβ₁ and trace a + β₁ - η (1 - β₁) s, where
        a = 1 - ηλ (1 without decoupled decay). Its eigenvalue reaches -1 at s = (1 + a)(1 + β₁) / (η (1 - β₁)).
        Cohen et al. 2022, arXiv 2207.14484, have a = 1.
        """
        beta1_M = values["beta1"]
        two_M = 2 - learning_rate_M * values["weight_decay"] if self.decoupled else 2.0
        return two_M * (1 + beta1_M) / (learning_rate_M * (1 - beta1_M))
