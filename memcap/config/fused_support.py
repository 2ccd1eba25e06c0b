"""Which runs the fused engine trains, known from the configuration alone: imports neither torch nor Numba."""

from __future__ import annotations

import functools
import importlib.util
import math

from memcap.config.formula import parse_formula
from memcap.config.formula_tree import Binary, Call, Negate, Node, constant_value
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

MODELS = ("linear", "mlp")
OPTIMIZERS = ("sgd", "adam", "adamw")
OBJECTIVES = ("cross_entropy", "squared_error")
# Functions that cut a slope off, those that are nowhere below 0, and where the slope of some is infinite.
CUTS = ("relu", "max", "min")
NEVER_NEGATIVE = ("relu", "abs", "sqrt", "exp", "sigmoid", "softplus")
ENDLESS_SLOPE = {"sqrt": 0.0, "log1p": -1.0}
# Above, one matrix no longer stays in a core's cache, and many cores on one network do more than one core each.
MOST_WIDTH_OF_AUTO = 512


def unsupported(config: RunConfig) -> str | None:
    """The part of a run that the fused engine has no kernel for, as 'model=autoencoder'; None where it has all."""
    if config.hardware.device != "cpu":
        return f"hardware.device={config.hardware.device}"
    if config.hardware.autocast != "none":
        return f"hardware.autocast={config.hardware.autocast}"
    if config.data.num_samples is None:
        return "data.num_samples=null (a fresh batch every step)"
    parts = {"model": MODELS, "objective": OBJECTIVES, "optimizer": OPTIMIZERS}
    for group, kinds in parts.items():
        part = getattr(config, group)
        if part._target_ is not None or part.kind not in kinds:
            return f"{group}={part._target_ or part.kind}"
    if config.model.uses_activation and config.activation._target_ is not None:
        return f"activation={config.activation._target_}"
    formula = getattr(config.activation, "formula", None)
    if config.model.uses_activation and formula is not None and _has_endless_slope(formula):
        return f"activation.formula={formula} (its slope can be 0 times infinity)"
    return None


@functools.cache
def _has_endless_slope(formula: str) -> bool:
    """Whether a slope of 0 that relu, max or min leave may meet an infinite one outside of them, as in sqrt(relu(x)).

    Backward, as torch has it, the 0 comes last and stands; forward, as in the kernel, 0 times infinity is NaN.
    """

    def found(node: Node) -> bool:
        if any(_is_cut(argument) and _lowest(argument) <= place for argument, place in _endless(node)):
            return True
        return any(map(found, _children(node)))

    return found(parse_formula(formula).tree)


def _endless(node: Node) -> list[tuple[Node, float]]:
    """The operands of a node for which its slope is infinite somewhere, and where."""
    if isinstance(node, Call) and node.function in ENDLESS_SLOPE:
        return [(node.arguments[0], ENDLESS_SLOPE[node.function])]
    if isinstance(node, Binary) and node.operator == "/":
        return [(node.right, 0.0)]
    if isinstance(node, Binary) and node.operator == "**":
        exponent = constant_value(node.right)
        return [(node.left, 0.0)] if exponent is None or exponent < 1 else []
    return []


def _is_cut(node: Node) -> bool:
    return (isinstance(node, Call) and node.function in CUTS) or any(map(_is_cut, _children(node)))


def _lowest(node: Node) -> float:
    """A number below which a tree has no value."""
    number = constant_value(node)
    if number is not None:
        return number
    if isinstance(node, Binary) and node.operator == "+":
        return _lowest(node.left) + _lowest(node.right)
    if isinstance(node, Call) and node.function == "max":
        return max(map(_lowest, node.arguments))
    return 0.0 if isinstance(node, Call) and node.function in NEVER_NEGATIVE else -math.inf


def _children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Negate):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    return node.arguments if isinstance(node, Call) else ()


def missing() -> str | None:
    """What the fused engine needs and this environment has not."""
    return None if importlib.util.find_spec("numba") else "the package numba is not installed"


def takes(config: RunConfig) -> bool:
    """Whether ``hardware.engine=auto`` would train this run with the fused engine, if its kernel can be built.

    Asked of each run by itself, so that what a run computes does not depend on what trains beside it.
    """
    widths = (config.data.num_inputs, config.data.num_outputs, getattr(config.model, "width", 0))
    return unsupported(config) is None and max(widths) <= MOST_WIDTH_OF_AUTO


def check_engine(config: RunConfig) -> None:
    """Raises BadInput where ``hardware.engine=fused`` is asked for and cannot be had."""
    if config.hardware.engine != "fused":
        return
    part = unsupported(config)
    if part is not None:
        raise BadInput(f"hardware.engine=fused cannot train {part}; use hardware.engine=auto or batched")
    if (reason := missing()) is not None:
        raise BadInput(f"hardware.engine=fused cannot be had: {reason}; use hardware.engine=auto or batched")
