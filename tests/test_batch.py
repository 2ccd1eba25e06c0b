"""How the samples of a population come to its device; the rest is tested with the population."""

from __future__ import annotations

import pytest
import torch

from memcap.batch import on_device


@pytest.mark.parametrize("device", ["mps", "cpu"])
def test_only_cuda_copies_while_others_go_on(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On mps, values are silently wrong where the host's memory is let go of before the copy has ended."""
    asked: list[bool] = []

    def to(tensor: torch.Tensor, *_: object, non_blocking: bool = False) -> torch.Tensor:
        asked.append(non_blocking)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    on_device(torch.zeros(2), torch.device(device))
    assert asked == [False]
