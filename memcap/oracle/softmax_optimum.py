"""The least cross-entropy that any linear classifier reaches on given samples: convex, so it has one value."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from memcap.oracle.margins import lower_bound, upper_bound
from memcap.oracle.separability import Separability, from_bounds

TOLERANCE_NATS = 1e-12
MOST_STEPS = 500


@dataclasses.dataclass(frozen=True)
class SoftmaxOptimum:
    """The infimum of the mean cross-entropy, with what proves it.

    loss_nats: its value, 0 where the samples are separable (then no weights reach it). bits: (ln V − loss) N / ln 2.
    gradient_norm: Euclidean, of the mean loss, at the last weights. gap_nats: half the squared Newton decrement there,
    by which the loss may still be too large. num_memorized: samples that the last weights classify correctly.
    separability: proved by the same weights and probabilities, without a linear program. weights_DV: the last weights.
    """

    loss_nats: float
    bits: float
    gradient_norm: float
    gap_nats: float
    num_memorized: int
    num_steps: int
    separability: Separability
    weights_DV: np.ndarray = dataclasses.field(repr=False)


def softmax_optimum(
    inputs_ND: np.ndarray, labels_N: np.ndarray, num_classes: int, start_DV: np.ndarray | None = None
) -> SoftmaxOptimum:
    """Newton's method with backtracking on the mean cross-entropy of logits x A, float64, no penalty.

    Ends as soon as all margins are positive (the infimum is 0), or where the Newton decrement says that at most
    1e-12 nats are left and the probabilities, taken as multipliers, prove that the samples are not separable; the last
    step then has a gradient norm of the order of 1e-12. Samples that are separable only in part have their optimum at
    infinity in some directions; there the loss falls by a constant factor a step. One class's weights are kept at 0,
    which changes no probability. Cost: a Hessian of (V − 1) D rows a step, 4 to 25 steps, up to
    50 beside the separable N. Raises RuntimeError if 500 steps do not do. Boyd and Vandenberghe 2004, section 9.5.
    """
    num_samples, num_inputs = inputs_ND.shape
    free = num_classes - 1
    weights_DF = np.zeros((num_inputs, free))
    if start_DV is not None:
        weights_DF = start_DV[:, :free] - start_DV[:, free:]
    loss, probabilities_NV = _loss(inputs_ND, labels_N, weights_DF)
    for step in range(MOST_STEPS + 1):
        weights_DV = np.c_[weights_DF, np.zeros(num_inputs)]
        at_least = lower_bound(inputs_ND, labels_N, weights_DV)
        errors_NV = probabilities_NV.copy()
        errors_NV[np.arange(num_samples), labels_N] -= 1.0
        gradient_DF = inputs_ND.T @ errors_NV[:, :free] / num_samples
        direction_DF = _newton_direction(inputs_ND, probabilities_NV[:, :free], gradient_DF)
        decrement = max(0.0, -float((gradient_DF * direction_DF).sum()))
        separability = from_bounds(at_least, upper_bound(inputs_ND, labels_N, probabilities_NV.copy()))
        if separability.separable or (decrement / 2 < TOLERANCE_NATS and separability.separable is False):
            best = 0.0 if separability.separable else loss
            correct = np.argmax(inputs_ND @ weights_DV, axis=1) == labels_N
            return SoftmaxOptimum(
                loss_nats=best,
                bits=(math.log(num_classes) - best) * num_samples / math.log(2),
                gradient_norm=float(np.linalg.norm(gradient_DF)),
                gap_nats=0.0 if separability.separable else decrement / 2,
                num_memorized=int(correct.sum()),
                num_steps=step,
                separability=separability,
                weights_DV=weights_DV,
            )
        weights_DF, loss, probabilities_NV = _line_search(
            inputs_ND, labels_N, weights_DF, direction_DF, loss, decrement
        )
    raise RuntimeError(
        f"Newton's method has not decided after {MOST_STEPS} steps on N = {num_samples}, D = {num_inputs}, "
        f"V = {num_classes}: loss {loss:.6g} nats, margin between {separability.margin_at_least:.3g} and"
        f" {separability.margin_at_most:.3g}"
    )


def _loss(inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DF: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy in nats, and the probabilities [N, V]; the last class has the logit 0."""
    logits_NV = np.c_[inputs_ND @ weights_DF, np.zeros(len(inputs_ND))]
    highest_N = logits_NV.max(axis=1)
    exponentials_NV = np.exp(logits_NV - highest_N[:, None])
    sums_N = exponentials_NV.sum(axis=1)
    losses_N = np.log(sums_N) + highest_N - logits_NV[np.arange(len(labels_N)), labels_N]
    return float(losses_N.mean()), exponentials_NV / sums_N[:, None]


def _newton_direction(
    inputs_ND: np.ndarray, probabilities_NF: np.ndarray, gradient_DF: np.ndarray
) -> np.ndarray:
    """−H⁻¹ g with H = mean of (diag p − p pᵀ) ⊗ x xᵀ; a ridge of 1e-14 of its trace where it is singular."""
    import scipy.linalg

    num_samples, num_inputs = inputs_ND.shape
    free = probabilities_NF.shape[1]
    # Rows (class, input): minus the Gram matrix of p_v x, plus a block for each class on the diagonal.
    scaled_NR = (probabilities_NF[:, :, None] * inputs_ND[:, None, :]).reshape(num_samples, -1)
    hessian_RR = -(scaled_NR.T @ scaled_NR)
    for v in range(free):
        block = slice(v * num_inputs, (v + 1) * num_inputs)
        hessian_RR[block, block] += scaled_NR[:, block].T @ inputs_ND
    hessian_RR /= num_samples
    ridge = 1e-14 * float(np.trace(hessian_RR)) / len(hessian_RR) + 1e-300
    gradient_R = gradient_DF.T.ravel()
    while True:
        try:
            factor = scipy.linalg.cho_factor(hessian_RR + ridge * np.eye(len(hessian_RR)), check_finite=False)
            solved_R = scipy.linalg.cho_solve(factor, gradient_R, check_finite=False)
            return -solved_R.reshape(free, num_inputs).T
        except np.linalg.LinAlgError:
            ridge *= 100.0


def _line_search(
    inputs_ND: np.ndarray,
    labels_N: np.ndarray,
    weights_DF: np.ndarray,
    direction_DF: np.ndarray,
    loss: float,
    decrement: float,
) -> tuple[np.ndarray, float, np.ndarray]:
    """Halves the step until the loss falls by a hundredth of what the gradient promises (Armijo)."""
    size = 1.0
    while True:
        tried_DF = weights_DF + size * direction_DF
        tried, probabilities_NV = _loss(inputs_ND, labels_N, tried_DF)
        # Where the loss is stationary to its last digits nothing can fall any more: the full step is taken.
        if tried <= loss - 0.01 * size * decrement or decrement < 1e-13 or size < 1e-10:
            return tried_DF, tried, probabilities_NV
        size /= 2
