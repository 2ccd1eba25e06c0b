"""Owners of locks, and what the mirror in W&B writes to and warns of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from wandb_server import Server, running_server

from memcap.records.owner import Owner


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with Owner(tmp_path) as mine:
        yield mine


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def warnings() -> list[str]:
    return []
