"""Anchors whose answer is another code's: torch's optimizer, the other engine, the same run alone, a publication."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memcap.anchors import plain
from memcap.anchors.anchor import Anchor, at_most, near
from memcap.anchors.trainings import SLOPE_STEPS, Trainings
from memcap.compare.capacity import capacity
from memcap.compare.fits import fits


def optimizer(trained: Trainings) -> Iterator[Anchor]:
    """Steps of Adam by torch, from the same initial weights."""
    first, last = trained.first_step, trained.linear
    initial_DV = _initial(first)
    inputs_ND, labels_N = first.data.inputs_ND, first.data.targets_N
    rate = float(first.config.optimizer.learning_rate)
    for name, run, steps in (("1 step", first, 1), ("40 steps", last, 40)):
        peer_DV = plain.adam(inputs_ND, labels_N, initial_DV, steps, rate)
        difference = float(np.abs(run.weights["linear.weight"] - peer_DV).max())
        yield at_most(
            f"Adam, {name}: largest difference of a weight", difference, 1e-9, "torch.optim.Adam, float64"
        )


def engines(trained: Trainings) -> Iterator[Anchor]:
    """The same cells trained by the other engine, and alone: their final weights."""
    fixed = "model.width=6 budget.steps=100 hardware.dtype=float64 measure=light"
    sizes = "data.num_samples=20,30,40"
    weights = {}
    for engine in ("fused", "batched"):
        trained.sweep(f"{fixed} {sizes} hardware.engine={engine}", engine)
        for place in (
            engine,
            f"{engine} alone",
        ):  # the first is the sweep's own run, which is not trained again
            run = trained.run(f"{fixed} data.num_samples=30 hardware.engine={engine}", place)
            weights[place] = np.concatenate([array.ravel() for array in run.weights.values()])
    for name, first, second, bound, source in (
        ("fused beside batched, 100 steps", "fused", "batched", 1e-9, "two engines, float64"),
        ("packed beside alone, fused", "fused", "fused alone", 0.0, "bit for bit"),
        ("packed beside alone, batched", "batched", "batched alone", 1e-9, "float64, 100 steps"),
    ):
        difference = float(np.abs(weights[first] - weights[second]).max())
        yield at_most(f"{name}: largest difference of a weight", difference, bound, source)


def slope(trained: Trainings) -> Iterator[Anchor]:
    """Bits that an added parameter of a two-layer network adds."""
    table = capacity(trained.widths)
    laws = fits(table)
    line = laws[(laws["law"] == "linear") & (laws["parameter_count"] == "num_parameters")].iloc[0]
    # Six seeds, W = 10 to 40, as many steps: 2.15 ± 0.14 (docs/FINDINGS.md). Liu 2026, "Memory 2": 2.2 to 2.5.
    yield near(f"two layers, {SLOPE_STEPS:,} steps: bits per added parameter", float(line["slope"]), 2.15,
               0.3, "docs/FINDINGS.md; published 2.2 to 2.5")  # fmt: skip


def _initial(run: object) -> np.ndarray:
    """The initial weights of a linear run: ask its model for a draw of its seed."""
    from memcap.models import build_model

    config = run.config  # type: ignore[attr-defined]
    return build_model(config).initialize(config.model, config.seed)["linear.weight"]
