"""``memcap.train`` in this process, in an empty folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from train_cases import SMALL, Main

from memcap import train


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, tracking: str = "tracking=disabled") -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.train", tracking, *SMALL, *arguments])
        monkeypatch.setattr(train, "_outcomes", [])
        return train.main()

    return call
