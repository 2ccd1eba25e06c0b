"""The least cross-entropy that any linear classifier reaches on given samples: convex, so it has one value."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from memcap.oracle.margins import lower_bound, upper_bound
from memcap.oracle.separability import Separability, from_bounds

TOLERANCE_NATS = 1e-12
MOST_STEPS = 100
LEAST_STEP = 0.25  # of a direction: where even this is too far, a ridge turns it towards the gradient
RIDGE_FACTOR = 10.0
ROUNDING_NATS = 1e-13  # falls of the loss below this drown in the rounding of float64


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


class UndecidedOptimum(RuntimeError):
    """Newton's method has not come within its tolerance; ``separability`` is what its last weights prove even so."""

    def __init__(self, said: str, separability: Separability) -> None:
        super().__init__(said)
        self.separability = separability


def softmax_optimum(
    inputs_ND: np.ndarray, labels_N: np.ndarray, num_classes: int, start_DV: np.ndarray | None = None
) -> SoftmaxOptimum:
    """Newton's method with backtracking on the mean cross-entropy of logits x A, float64, no penalty.

    Ends as soon as all margins are positive (the infimum is 0), or where the Newton decrement says that at most
    1e-12 nats are left and the probabilities, taken as multipliers, prove that the samples are not separable; the last
    step then has a gradient norm of the order of 1e-12. Samples that are separable only in part have their optimum at
    infinity in some directions; there the loss falls by a constant factor a step. One class's weights are kept at 0,
    which changes no probability. Where the Hessian is nearly singular, as beside the separable N, a ridge shortens
    steps (``_step``); the decrement that ends the search is that of the Hessian itself. Cost: a Hessian of (V − 1) D
    rows a step, 4 to 25 steps, up to 50 beside the separable N. Raises UndecidedOptimum if 100 steps do not do. Boyd
    and Vandenberghe 2004, section 9.5; Marquardt 1963, J. SIAM 11, 431.
    """
    num_samples, num_inputs = inputs_ND.shape
    free = num_classes - 1
    weights_DF = np.zeros((num_inputs, free))
    if start_DV is not None:
        weights_DF = start_DV[:, :free] - start_DV[:, free:]
    point, ridge = _point(inputs_ND, labels_N, weights_DF), 0.0
    for step in range(MOST_STEPS + 1):
        weights_DV = np.c_[point.weights_DF, np.zeros(num_inputs)]
        at_least = lower_bound(inputs_ND, labels_N, weights_DV)
        errors_NV = point.probabilities_NV.copy()
        errors_NV[np.arange(num_samples), labels_N] -= 1.0
        gradient_DF = inputs_ND.T @ errors_NV[:, :free] / num_samples
        hessian_RR = _hessian(inputs_ND, point.probabilities_NV[:, :free])
        newton = _direction(hessian_RR, gradient_DF, 0.0)
        separability = from_bounds(at_least, upper_bound(inputs_ND, labels_N, point.probabilities_NV))
        if separability.separable or (
            newton.decrement / 2 < TOLERANCE_NATS and separability.separable is False
        ):
            best = 0.0 if separability.separable else point.loss
            correct = np.argmax(inputs_ND @ weights_DV, axis=1) == labels_N
            return SoftmaxOptimum(
                loss_nats=best,
                bits=(math.log(num_classes) - best) * num_samples / math.log(2),
                gradient_norm=float(np.linalg.norm(gradient_DF)),
                gap_nats=0.0 if separability.separable else newton.decrement / 2,
                num_memorized=int(correct.sum()),
                num_steps=step,
                separability=separability,
                weights_DV=weights_DV,
            )
        first = newton if ridge <= newton.ridge else _direction(hessian_RR, gradient_DF, ridge)
        point, ridge = _step(inputs_ND, labels_N, point, first, hessian_RR, gradient_DF)
    raise UndecidedOptimum(
        f"Newton's method has not decided after {MOST_STEPS} steps on N = {num_samples}, D = {num_inputs}, "
        f"V = {num_classes}: loss {point.loss:.6g} nats, margin between {separability.margin_at_least:.3g} and"
        f" {separability.margin_at_most:.3g}",
        separability,
    )


@dataclasses.dataclass(frozen=True)
class _Point:
    """Weights [D, V − 1], the last class's being 0, their mean cross-entropy in nats and probabilities [N, V]."""

    weights_DF: np.ndarray
    loss: float
    probabilities_NV: np.ndarray


def _point(inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DF: np.ndarray) -> _Point:
    logits_NV = np.c_[inputs_ND @ weights_DF, np.zeros(len(inputs_ND))]
    highest_N = logits_NV.max(axis=1)
    exponentials_NV = np.exp(logits_NV - highest_N[:, None])
    sums_N = exponentials_NV.sum(axis=1)
    losses_N = np.log(sums_N) + highest_N - logits_NV[np.arange(len(labels_N)), labels_N]
    return _Point(weights_DF, float(losses_N.mean()), exponentials_NV / sums_N[:, None])


def _hessian(inputs_ND: np.ndarray, probabilities_NF: np.ndarray) -> np.ndarray:
    """Mean of (diag p − p pᵀ) ⊗ x xᵀ, [(V − 1) D, (V − 1) D]."""
    num_samples, num_inputs = inputs_ND.shape
    # Rows (class, input): minus the Gram matrix of p_v x, plus a block for each class on the diagonal.
    scaled_NR = (probabilities_NF[:, :, None] * inputs_ND[:, None, :]).reshape(num_samples, -1)
    hessian_RR: np.ndarray = -(scaled_NR.T @ scaled_NR)
    for v in range(probabilities_NF.shape[1]):
        block = slice(v * num_inputs, (v + 1) * num_inputs)
        hessian_RR[block, block] += scaled_NR[:, block].T @ inputs_ND
    hessian_RR /= num_samples
    return hessian_RR


@dataclasses.dataclass(frozen=True)
class _Direction:
    """−(H + ridge 1)⁻¹ g, [D, V − 1], and its decrement gᵀ (H + ridge 1)⁻¹ g in nats."""

    change_DF: np.ndarray
    decrement: float
    ridge: float


def _direction(hessian_RR: np.ndarray, gradient_DF: np.ndarray, ridge: float) -> _Direction:
    """With at least 1e-16 of the mean of H's diagonal as its ridge, and more where H is singular even so."""
    import scipy.linalg

    ridge = max(ridge, 1e-16 * float(np.trace(hessian_RR)) / len(hessian_RR) + 1e-300)
    gradient_R = gradient_DF.T.ravel()
    while True:
        try:
            raised_RR = hessian_RR.copy()
            raised_RR[np.diag_indices_from(raised_RR)] += ridge
            factor = scipy.linalg.cho_factor(raised_RR, overwrite_a=True, check_finite=False)
            solved_R = scipy.linalg.cho_solve(factor, gradient_R, check_finite=False)
            decrement = max(0.0, float(gradient_R @ solved_R))
            return _Direction(-solved_R.reshape(gradient_DF.T.shape).T, decrement, ridge)
        except np.linalg.LinAlgError:
            ridge *= RIDGE_FACTOR


def _step(
    inputs_ND: np.ndarray,
    labels_N: np.ndarray,
    point: _Point,
    direction: _Direction,
    hessian_RR: np.ndarray,
    gradient_DF: np.ndarray,
) -> tuple[_Point, float]:
    """A step after which the loss has fallen by a hundredth of what the gradient promises (Armijo), and the next ridge.

    A direction is halved twice. Where that is still too far, the quadratic model that gave it holds nowhere near its
    end: beside the separable N most samples have p (1 − p) of 0, rounding decides where the Hessian is flat, and
    directions are up to 1e12 long. The ridge then grows tenfold until a step does (Levenberg and Marquardt), and
    falls tenfold with each whole step, which keeps up with curvature that vanishes where the optimum is at infinity.
    No step raises the loss by more than its rounding.
    """
    while True:
        size = 1.0
        while size >= LEAST_STEP:
            tried = _point(inputs_ND, labels_N, point.weights_DF + size * direction.change_DF)
            promised = 0.01 * size * direction.decrement
            # Where the loss is stationary to its last digits nothing can fall any more: the whole step is taken.
            stationary = direction.decrement < ROUNDING_NATS and tried.loss <= point.loss + ROUNDING_NATS
            if tried.loss <= point.loss - promised or stationary:
                return tried, direction.ridge / RIDGE_FACTOR if size == 1.0 else direction.ridge
            size /= 2
        direction = _direction(hessian_RR, gradient_DF, RIDGE_FACTOR * direction.ridge)
