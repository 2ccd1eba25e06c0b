"""The few trainings that anchors look at, by the same calls as anybody's, in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from memcap import api

LINEAR = (
    "model=linear data.input_dim=6 data.num_classes=4 data.num_samples=30 hardware.dtype=float64 measure=full"
)
WIDTHS = (10, 20, 30, 40)
SLOPE_STEPS = 10_000


class Trainings:
    """Each is trained when it is first asked for; everything lies below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, overrides: str, place: str = "outputs", **keys: Any) -> Any:
        """One run, alone."""
        with _quiet():
            return api.run(
                overrides, tracking="disabled", **{"paths.outputs": str(self.folder / place)}, **keys
            )

    def sweep(self, overrides: str, place: str = "outputs") -> pd.DataFrame:
        """The runs of a sweep, trained together."""
        with _quiet():
            return api.sweep(
                [*overrides.split(), "tracking=disabled", f"paths.outputs={self.folder / place}"]
            )

    @functools.cached_property
    def linear(self) -> Any:
        """A linear model in float64 that has not converged, so that nothing of it vanishes."""
        return self.run(f"{LINEAR} budget.steps=40")

    @functools.cached_property
    def first_step(self) -> Any:
        """The same after one step."""
        return self.run(f"{LINEAR} budget.steps=1")

    @functools.cached_property
    def converged(self) -> Any:
        """A linear model that cannot memorize everything, trained to its optimum."""
        return self.run(
            "model=linear data.num_samples=60 budget.steps=20000 schedule=cosine optimizer.learning_rate=0.03"
            " hardware.dtype=float64 measure=light"
        )

    @functools.cached_property
    def memorized(self) -> Any:
        """A network with room to spare: every sample is memorized."""
        return self.run(
            "model.width=32 data.num_samples=50 budget.steps=10000 schedule=cosine measure=light"
            " measure.evaluation=true"
        )

    @functools.cached_property
    def widths(self) -> pd.DataFrame:
        """Two layers, D = V = 10, around the N where bits peak; three seeds."""
        cells = [
            f"model.width={width} data.num_samples={size} seed={seed}"
            for width in WIDTHS
            for size in _around_the_peak(width)
            for seed in range(3)
        ]
        return self._cells(cells, f"measure=light schedule=cosine budget.steps={SLOPE_STEPS}")

    def _cells(self, cells: list[str], fixed: str) -> pd.DataFrame:
        """A sweep of a list of cells."""
        keys = [word.partition("=")[0] for word in cells[0].split()]
        lines = [",".join(word.partition("=")[2] for word in cell.split()) for cell in cells]
        path = self.folder / "cells.csv"
        path.write_text("\n".join([",".join(keys), *lines]) + "\n", encoding="utf-8")
        return self.sweep(f"cells={path} {fixed}")


def _around_the_peak(width: int) -> list[int]:
    """Candidate N: bits peak near 2.5 bits a parameter, P = 20 W + 100, log2 10 bits a sample."""
    center = 2.5 * (20 * width + 100) / 3.32
    return [round(center * factor) for factor in (0.7, 0.8, 0.9, 1.0, 1.1, 1.25)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
