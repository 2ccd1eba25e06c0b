"""Gradient norms: how hard a member's own loss still pulls, as a whole and per layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def l2_norms(vectors_MP: Tensor) -> Tensor:
    """L2 norm of each row [M], accumulated and returned in float64."""
    return torch.linalg.vector_norm(vectors_MP, dim=1, dtype=torch.float64)


def gradient_norms(gradients_MP: Tensor, layout: Sequence[tuple[str, slice]]) -> dict[str, Tensor]:
    """L2 norms of each member's gradient: "gradients/norm" in all, "gradients/norm/<layer>" of its parts.

    gradients_MP: gradient of member i's own loss (not of a mean over members) in row i.
    layout: which slice of the flat parameters belongs to which layer; slices of one name are one layer.
    Returns float64 [M] tensors: squares of float32 gradients below 1e-19 would be lost in float32, and a
    memorized sample's gradient gets there. Parameters outside the layout count in the total only.
    """
    norms = {"gradients/norm": l2_norms(gradients_MP)}
    for layer, part in layout:
        key = f"gradients/norm/{layer}"
        norm_M = l2_norms(gradients_MP[:, part])
        norms[key] = torch.hypot(norms[key], norm_M) if key in norms else norm_M
    return norms
