"""Cells of a study whose status is asked, and what its page is."""

from __future__ import annotations

from collections.abc import Callable

from compositions import composed_config

from memcap.config.cell import Cell

Page = Callable[..., str]


def cells_of(number: int) -> list[Cell]:
    configs = [composed_config(f"seed={seed}", "budget.steps=100", "study=s") for seed in range(number)]
    return [Cell.from_values(c.to_dict(), [f"seed={seed}"]) for seed, c in enumerate(configs)]
