"""The code length of a label under the predicted distribution."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from memcap.objectives.objective import Objective, Scores


class CrossEntropy(Objective):
    """loss = -log softmax(logits)[label] in nats: what it costs to send the label with the model's help."""

    loss_name = "loss_nats"

    def losses(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Tensor:
        # With the few classes not innermost, torch's kernel runs along the samples: a quarter of the time.
        return functional.cross_entropy(outputs_MNV.mT, targets, reduction="none")

    def scores(self, outputs_MNV: Tensor, targets: Tensor, importance_MF: Tensor | None) -> Scores:
        loss_MN = self.losses(outputs_MNV, targets, importance_MF)
        # The argmax of NaN is a class too: what has no loss is not right.
        correct_MN = (outputs_MNV.argmax(-1) == targets) & loss_MN.isfinite()
        return Scores(loss_MN, loss_MN, correct_MN)
