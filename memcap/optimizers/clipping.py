"""Clipping of gradients by their norm, each member by its own."""

from __future__ import annotations

import torch
from torch import Tensor

# The term of torch.nn.utils.clip_grad_norm_ that keeps a zero gradient from dividing by zero.
NORM_OFFSET = 1e-6


@torch.no_grad()
def clip_by_norm_(gradients_MP: Tensor, max_norm_M1: Tensor) -> Tensor:
    r"""Scales each member's gradient in place to at most its maximal norm; returns the norms [M] before.

    .. math:: g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert_2 + 10^{-6}}\right)

    the convention of ``torch.nn.utils.clip_grad_norm_``, with the norm over all P parameters of one member,
    so that members stay independent. ``max_norm_M1`` is c; infinity leaves the member's gradient as it is.

    A gradient with a NaN becomes NaN throughout; one with an infinity becomes NaN there and 0 elsewhere:
    that member has diverged, its neighbours see nothing of it. No host synchronization. Pascanu et al.
    (2013), arXiv 1211.5063.
    """
    norm_M1 = torch.linalg.vector_norm(gradients_MP, dim=1, keepdim=True)
    factor_M1 = (max_norm_M1 / (norm_M1 + NORM_OFFSET)).clamp(max=1.0)
    # Without this, a member that is not clipped and has an infinite norm would be scaled by inf / inf.
    factor_M1 = torch.where(torch.isposinf(max_norm_M1), 1.0, factor_M1)
    gradients_MP.mul_(factor_M1.to(gradients_MP.dtype))
    return norm_M1[:, 0]
