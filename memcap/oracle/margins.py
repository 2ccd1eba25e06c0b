"""Margins of a linear classifier, and the two bounds by which an answer proves itself."""

from __future__ import annotations

import numpy as np


def margins(inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DV: np.ndarray) -> np.ndarray:
    """x_i · (A_{y_i} − A_v), [N, V]; infinite at v = y_i. All above 0: every sample is classified correctly."""
    logits_NV = inputs_ND @ weights_DV
    rows = np.arange(len(labels_N))
    margins_NV: np.ndarray = logits_NV[rows, labels_N][:, None] - logits_NV
    margins_NV[rows, labels_N] = np.inf
    return margins_NV


def lower_bound(inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DV: np.ndarray) -> float:
    """The margin that these weights reach once their entries are scaled into [−1, 1]; above 0 is a proof.

    What float64 may have rounded is taken off, so a positive answer is positive in exact arithmetic.
    """
    scale = float(np.abs(weights_DV).max())
    if scale == 0 or not np.isfinite(scale):
        return -np.inf
    weights_DV = weights_DV / scale
    rounding = 4 * (len(weights_DV) + 2) * np.finfo(np.float64).eps * np.abs(inputs_ND).sum(axis=1).max()
    return float(margins(inputs_ND, labels_N, weights_DV).min() - rounding)


def upper_bound(inputs_ND: np.ndarray, labels_N: np.ndarray, multipliers_NV: np.ndarray) -> float:
    """A margin that no weights within [−1, 1] exceed, from any multipliers λ ≥ 0 of the samples' wrong classes.

    t Σ λ_iv ≤ Σ λ_iv x_i · (A_{y_i} − A_v) ≤ ‖R‖₁ with R = Σ λ_iv x_i ⊗ (e_{y_i} − e_v): weak duality of the linear
    program (Gordan's theorem where it is 0). The entries at v = y_i are not looked at.
    """
    rows = np.arange(len(labels_N))
    weights_NV = np.maximum(multipliers_NV, 0.0)
    weights_NV[rows, labels_N] = 0.0
    total = float(weights_NV.sum())
    if total == 0 or not np.isfinite(total):
        return np.inf
    signed_NV = -weights_NV
    signed_NV[rows, labels_N] = weights_NV.sum(axis=1)
    return float(np.abs(inputs_ND.T @ signed_NV).sum() / total)
