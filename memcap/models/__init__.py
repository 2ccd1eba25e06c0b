"""Networks and their activations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from memcap.config.formula import parse_formula
from memcap.config.implementation import implementation
from memcap.config.model_schema import FormulaActivationConfig
from memcap.config.run_config import RunConfig
from memcap.models.activation import Activation, activation_function
from memcap.models.model import Model

__all__ = ["Activation", "Model", "build_activation", "build_model"]


def build_model(config: RunConfig) -> Model:
    """The network of a population, from the configuration of any of its members."""
    model: Model = implementation(config.model)(config.model, config.data)
    model.shift_invariant = config.objective.shift_invariant
    return model


def build_activation(config: RunConfig, values: Mapping[str, Tensor]) -> Activation:
    """The elementwise function of a population; ``values`` holds each per-member value as [M, 1, 1].

    One of the user's own is a class with ``__init__(config, values)`` and ``__call__(x)``.
    """
    activation = config.activation
    if activation._target_ is not None:
        custom: Activation = implementation(activation)(activation, values)
        return custom
    formula = parse_formula(activation.formula) if isinstance(activation, FormulaActivationConfig) else None
    return activation_function(activation.kind, values=values, formula=formula)
