"""Owners of locks, and what the W&B mirror writes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memcap.records.owner import Owner


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path) as mine:
        yield mine
