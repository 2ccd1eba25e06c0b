"""The same quantities in a few lines of NumPy and torch that share nothing with memcap: what anchors compare with."""

from __future__ import annotations

import math

import numpy as np
import torch


def softmax_regression(
    inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DV: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean cross-entropy in nats, per-sample gradients [N, D V] and the Hessian [D V, D V] of x A, closed forms.

    g_i = x_i ⊗ (p_i − e_{y_i}); H = mean of x_i x_iᵀ ⊗ (diag p_i − p_i p_iᵀ).
    """
    logits_NV = inputs_ND @ weights_DV
    probabilities_NV = np.exp(logits_NV - logits_NV.max(axis=1, keepdims=True))
    probabilities_NV /= probabilities_NV.sum(axis=1, keepdims=True)
    num_samples, num_classes = probabilities_NV.shape
    own_N = probabilities_NV[np.arange(num_samples), labels_N]
    gradients_NP = np.einsum("nd,nv->ndv", inputs_ND, probabilities_NV - np.eye(num_classes)[labels_N])
    curvature_NVV = np.einsum("nv,vw->nvw", probabilities_NV, np.eye(num_classes)) - np.einsum(
        "nv,nw->nvw", probabilities_NV, probabilities_NV
    )
    hessian = np.einsum("nd,ne,nvw->dvew", inputs_ND, inputs_ND, curvature_NVV) / num_samples
    size = weights_DV.size
    return float(-np.log(own_N).mean()), gradients_NP.reshape(num_samples, size), hessian.reshape(size, size)


def bits(loss_nats: float, num_samples: int, num_classes: int) -> float:
    """(ln V − ℓ) N / ln 2, as Liu 2026, "Memory 2", writes it."""
    return (math.log(num_classes) - loss_nats) * num_samples / math.log(2)


def adam(
    inputs_ND: np.ndarray, labels_N: np.ndarray, weights_DV: np.ndarray, num_steps: int, learning_rate: float
) -> np.ndarray:
    """Weights after full-batch steps of ``torch.optim.Adam`` on the mean cross-entropy of x A, float64."""
    weights = torch.nn.Parameter(torch.from_numpy(weights_DV.astype(np.float64)))
    optimizer = torch.optim.Adam([weights], lr=learning_rate)
    inputs, labels = torch.from_numpy(inputs_ND), torch.from_numpy(labels_N)
    for _ in range(num_steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(inputs @ weights, labels).backward()
        optimizer.step()
    return weights.detach().numpy()
