"""Optimizers for populations: every hyperparameter is a value per member, every update is functional.

``OPTIMIZERS`` maps each kind to its optimizer; a new one implements ``Optimizer`` and is entered here. One that
needs the loss inside of a step implements ``Searching``.
"""

from __future__ import annotations

from memcap.config.implementation import implementation
from memcap.config.run_config import RunConfig
from memcap.config.schema import LbfgsConfig
from memcap.errors import BadInput
from memcap.optimizers.adam import Adam
from memcap.optimizers.clipping import clip_by_norm_
from memcap.optimizers.lbfgs import Lbfgs
from memcap.optimizers.optimizer import Evaluate, KnowsStability, Optimizer, Searching
from memcap.optimizers.schedule import SCHEDULE_KINDS, learning_rate_factor
from memcap.optimizers.sgd import Sgd

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Sgd(),
    "adam": Adam(),
    "adamw": Adam(decoupled=True),
}


def build_optimizer(config: RunConfig) -> Optimizer | Searching:
    """The optimizer of a population, from the configuration of any of its members."""
    if config.optimizer._target_ is not None:
        custom: Optimizer | Searching = implementation(config.optimizer)()
        searches = isinstance(custom, Searching)
        if searches != config.optimizer.searches:
            raise BadInput(
                f"optimizer._target_={config.optimizer._target_}: its Config must say searches = {searches}, which"
                " decides what schedules and batches it meets"
            )
        return custom
    if isinstance(config.optimizer, LbfgsConfig):
        return Lbfgs(config.optimizer.history)
    return OPTIMIZERS[config.optimizer.kind]


__all__ = [
    "OPTIMIZERS",
    "SCHEDULE_KINDS",
    "Adam",
    "Evaluate",
    "KnowsStability",
    "Lbfgs",
    "Optimizer",
    "Searching",
    "Sgd",
    "build_optimizer",
    "clip_by_norm_",
    "learning_rate_factor",
]
