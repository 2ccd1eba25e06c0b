"""What some tests need of the machine: they are skipped without it, or fail where ``MEMCAP_REQUIRE`` names it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest


def give_up(name: str, missing: str) -> None:
    """Ends a fixture: skipped with what is missing and how to get it, failed where ``name`` is required."""
    if name in os.environ.get("MEMCAP_REQUIRE", "").split(","):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def mark_below(folder: Path, name: str, items: Iterable[pytest.Item]) -> None:
    """Gives the tests below a folder its marker."""
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(name)
