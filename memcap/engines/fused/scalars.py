"""The optimizer's scalars of the next steps, for one member at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from memcap.population import Population

# A step's scalars in the order in which ``updates`` reads them; what an optimizer does not name is as given here.
SGD_SCALARS = {"step_size": 0.0, "momentum": 0.0, "weight_decay": 0.0}
ADAM_SCALARS = {
    "step_size": 0.0, "epsilon": 0.0, "gradient_weight": 0.0, "square_weight": 0.0, "weight_decay": 0.0,
    "shrinkage": 1.0,
}  # fmt: skip
# Prepared at once, always for whole blocks of so many steps and for one member: their last bits depend on the shape
# of the array that they are computed in, and must not depend on neighbours or on when a run is measured.
STEPS_PREPARED = 4096
MOST_KEPT = 256


class StepScalars:
    """Remembers the blocks in which members stand; members with equal hyperparameters share one."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[Any, ...], np.ndarray] = {}

    def of(self, population: Population, place: int, num_steps: int) -> np.ndarray:
        """The scalars of the next steps of a member [K, C], in the order in which the optimizer's piece reads them.

        They are in the dtype of the weights; the steps do not leave the block that the population stands in.
        """
        offset = population.step % STEPS_PREPARED
        config = population.configs[place]
        key = (config.optimizer, config.schedule, config.budget.steps, population.step - offset)
        if key not in self._blocks:
            while len(self._blocks) >= MOST_KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[key] = _block(population.keep([place]), population.step - offset)
        return self._blocks[key][offset : offset + num_steps]


def _block(alone: Population, start: int) -> np.ndarray:
    named = alone.optimizer_scalars(start, STEPS_PREPARED)
    order = SGD_SCALARS if alone.configs[0].optimizer.kind == "sgd" else ADAM_SCALARS
    columns = [
        named[name][:, 0, 0].numpy() if name in named else np.full(STEPS_PREPARED, absent)
        for name, absent in order.items()
    ]
    return np.stack(columns, axis=-1).astype(alone.parameters_MP.numpy().dtype)
