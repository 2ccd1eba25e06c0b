"""Activation functions, with values per member and formulas.

Each kind is an elementwise function on inputs of any float dtype, which it keeps, differentiable twice where
the mathematics is: sharpness needs second derivatives, and a kink in an implementation would change them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from memcap.config.formula_tree import Binary, Call, Formula, Negate, Node, constant_value
from memcap.errors import BadInput, nearest

Activation = Callable[[Tensor], Tensor]

# Above it, softplus(x) and x are equal in float64; torch's own threshold of 20 is a step of 2e-9.
SOFTPLUS_THRESHOLD = 40.0


def _relu_power(power: int) -> Activation:
    return lambda x: torch.relu(x).pow(power)


_PLAIN: dict[str, Activation] = {
    "relu": torch.relu,
    "relu2": _relu_power(2),
    "relu3": _relu_power(3),
    "relu4": _relu_power(4),
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}
ACTIVATION_KINDS = (*_PLAIN, "sin", "formula")

_TENSOR_FUNCTIONS: dict[str, Activation] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, threshold=SOFTPLUS_THRESHOLD),
    "relu": torch.relu,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "log1p": torch.log1p,
    "erf": torch.erf,
}
_OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
# Of numbers, of two tensors, and of a tensor and a number.
_EXTREMA: dict[
    str,
    tuple[
        Callable[[list[float]], float],
        Callable[[Tensor, Tensor], Tensor],
        Callable[[Tensor, float], Tensor],
    ],
] = {
    "max": (max, torch.maximum, lambda x, number: torch.clamp(x, min=number)),
    "min": (min, torch.minimum, lambda x, number: torch.clamp(x, max=number)),
}


def activation_function(kind: str, *, values: Mapping[str, Tensor], formula: Formula | None) -> Activation:
    """The elementwise function of an activation kind, for inputs [M, N, W].

    ===========================  =========================================================================
    relu, relu2, relu3, relu4    max(x, 0)^k
    silu                         x / (1 + exp(-x)) (Elfwing et al. 2018, arXiv 1702.03118)
    gelu                         x (1 + erf(x/√2)) / 2, exact (Hendrycks and Gimpel 2016, arXiv 1606.08415)
    tanh, identity               tanh(x), x
    sin                          sin(ω x) with ``values["frequency"]`` = ω, [M, 1, 1] (Sitzmann et al. 2020,
                                 arXiv 2006.09661)
    formula                      ``formula``, constants folded in float64
    ===========================  =========================================================================

    Derivatives at a kink are those of torch: 0 for relu and abs; max and min with a constant pass it in full.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "sin":
        frequency_M11 = values["frequency"]
        # The cast keeps float32 inputs in float32 where the values are held in float64.
        return lambda x_MNW: torch.sin(frequency_M11.to(x_MNW) * x_MNW)
    if kind == "formula":
        if formula is None:
            raise BadInput("activation.formula must be given for activation.kind=formula, like x*sin(3*x)")
        return _compiled(formula.tree)
    known = ", ".join(ACTIVATION_KINDS)
    raise BadInput(f"activation.kind must be one of {known}, got {kind!r}{nearest(kind, ACTIVATION_KINDS)}")


def _compiled(node: Node) -> Activation:
    """The tree as nested closures; a part without x becomes one number, so that no dtype rounds it early."""
    value = constant_value(node)
    if value is not None:
        # Tensor arithmetic takes a number as an operand and keeps the tensor's dtype.
        return lambda x: value  # type: ignore[return-value]
    if isinstance(node, Negate):
        operand = _compiled(node.operand)
        return lambda x: -operand(x)
    if isinstance(node, Binary):
        apply, left, right = _OPERATORS[node.operator], _compiled(node.left), _compiled(node.right)
        return lambda x: apply(left(x), right(x))
    if isinstance(node, Call):
        return _extremum(node) if node.function in _EXTREMA else _unary(node)
    return lambda x: x


def _unary(call: Call) -> Activation:
    function, argument = _TENSOR_FUNCTIONS[call.function], _compiled(call.arguments[0])
    return lambda x: function(argument(x))


def _extremum(call: Call) -> Activation:
    """max or min: the numbers first, to one, which then bounds the tensors."""
    of_numbers, of_tensors, bounded = _EXTREMA[call.function]
    values = [constant_value(argument) for argument in call.arguments]
    numbers = [value for value in values if value is not None]
    tensors = [_compiled(node) for node, value in zip(call.arguments, values, strict=True) if value is None]
    limit = of_numbers(numbers) if numbers else None

    def extremum(x: Tensor) -> Tensor:
        result = reduce(of_tensors, [tensor(x) for tensor in tensors])
        return result if limit is None else bounded(result, limit)

    return extremum
