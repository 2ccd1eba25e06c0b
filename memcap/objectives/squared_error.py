"""Squared error with an importance for each feature."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from memcap.objectives.objective import Objective, Scores


class SquaredError(Objective):
    """loss = mean over features of importance_f (x'_f - x_f)²; class labels become one-hot targets.

    It is no code length: there are no bits. With labels, a sample is right when the largest output is its class.
    """

    loss_name = "loss_mse"

    def losses(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Tensor:
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, outputs_MNV.shape[-1]).to(outputs_MNV.dtype)
        errors_MNF = outputs_MNV - targets
        weighted_MNF = errors_MNF
        if self.config.use_importance and importance_MF is not None:
            weighted_MNF = errors_MNF * importance_MF[:, None, :]
        # Not mean(): its gradient is laid out anew, and each pass behind it would mix two layouts.
        return (errors_MNF * weighted_MNF).sum(-1) / outputs_MNV.shape[-1]

    def scores(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Scores:
        loss_MN = self.losses(outputs_MNV, targets, importance_MF)
        labelled = not targets.is_floating_point()
        return Scores(
            loss_MN, None, (outputs_MNV.argmax(-1) == targets) & loss_MN.isfinite() if labelled else None
        )
