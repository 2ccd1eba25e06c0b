"""Memorized samples: counting under a mask."""

from __future__ import annotations

import torch

from memcap.measures.samples import accuracy, memorized_samples

CORRECT_MN = torch.tensor([[True, False, True], [True, True, True], [True, True, False]])
MASK_MN = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


def test_only_samples_under_the_mask_count() -> None:
    assert memorized_samples(CORRECT_MN, MASK_MN).tolist() == [2, 1, 0]


def test_accuracy_is_the_share_of_a_members_own_samples() -> None:
    share_M = accuracy(CORRECT_MN, MASK_MN)
    assert share_M.dtype == torch.float64
    assert share_M[:2].tolist() == [2 / 3, 1.0]
    assert share_M[2].isnan()
