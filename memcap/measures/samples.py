"""Memorized samples: how many targets a model gives back exactly."""

from __future__ import annotations

import torch
from torch import Tensor


def memorized_samples(correct_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Number of samples whose most likely target is the true one, per member; int64.

    correct_MN: bool; where mask_MN (bool) is false anything may stand. A guesser scores N / V, not 0.
    """
    return (correct_MN & mask_MN).sum(dim=1)


def accuracy(correct_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Share of the samples that are memorized, per member; float64, NaN for a member without samples."""
    return memorized_samples(correct_MN, mask_MN).to(torch.float64) / mask_MN.sum(dim=1)
