"""Objectives: what is minimized, and which metrics exist for it."""

from __future__ import annotations

from memcap.config.implementation import implementation
from memcap.config.run_config import RunConfig
from memcap.objectives.objective import Objective, Scores

__all__ = ["Objective", "Scores", "build_objective"]


def build_objective(config: RunConfig) -> Objective:
    """The objective of a population, from the configuration of any of its members."""
    objective: Objective = implementation(config.objective)(config.objective)
    return objective
