"""Figures and page of an earlier comparison, which must not stand beside new numbers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

FIGURES: Final = ("capacity_curves", "capacity_against_parameters", "training", "sharpness", "gradients")
KINDS: Final = ("png", "svg")
PAGE: Final = "report.html"


def remove_stale(folder: Path, *, figures: bool, page: bool) -> list[str]:
    """Removes the files of figures, and of the page, that memcap has written here; their names, in a fixed order."""
    names: Iterable[str] = (
        *((f"{name}.{kind}" for name in FIGURES for kind in KINDS) if figures else ()),
        *((PAGE,) if page else ()),
    )
    there = [name for name in names if (folder / name).is_file()]
    for name in there:
        (folder / name).unlink(missing_ok=True)
    return there
