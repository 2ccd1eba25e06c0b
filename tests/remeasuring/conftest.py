"""The two commands, called in an empty directory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from measure_cases import SMALL, Command

from memcap import measure, train


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Trains in an empty directory, which is the working directory then."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.train", *SMALL, *arguments])
        return train.main()

    return call


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Command:
    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.measure", *arguments])
        return measure.main()

    return call
