"""The tree of a formula in x: its nodes, its canonical text and the value of its constant parts.

Imports neither torch nor numpy: a configuration is checked before anything heavy is loaded. What a tree means
for tensors is said in ``memcap.models.activation``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

# Functions of one argument, on numbers; max and min take two or more.
_NUMBER_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin,
    "cos": math.cos,
    "exp": math.exp,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "relu": lambda x: max(x, 0.0),
    "abs": abs,
    "sqrt": math.sqrt,
    "log1p": math.log1p,
    "erf": math.erf,
}
UNARY_FUNCTIONS = tuple(_NUMBER_FUNCTIONS)
VARIADIC_FUNCTIONS = ("max", "min")
FUNCTIONS = UNARY_FUNCTIONS + VARIADIC_FUNCTIONS

# How tightly each form binds, in Python's grammar; a negation stands between * and **.
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "negate": 3, "**": 4, "atom": 5}


@dataclass(frozen=True)
class Number:
    """A finite number that is not negative (a minus sign is a ``Negate``)."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or math.copysign(1.0, self.value) < 0:
            raise ValueError(f"a number in a formula is finite and not negative, got {self.value}")


@dataclass(frozen=True)
class Variable:
    """The variable x."""


@dataclass(frozen=True)
class Negate:
    """-operand"""

    operand: Node


@dataclass(frozen=True)
class Binary:
    """left operator right, with an operator of + - * / **."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call:
    """function(arguments), with a function of ``FUNCTIONS``."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Variable | Negate | Binary | Call


@dataclass(frozen=True)
class Formula:
    """A function of x, as a tree; two formulas are equal when their trees are."""

    tree: Node

    @cached_property
    def canonical(self) -> str:
        """The text of this tree without spaces, needless parentheses or a unary plus.

        It parses to the same tree, and every text of one tree has the same canonical text. It says nothing
        about algebra: ``2*x`` and ``x*2`` are two formulas.
        """
        return tree_text(self.tree)


class NotFinite(ValueError):
    """A part of a formula without x has no finite value."""


def constant_value(node: Node) -> float | None:
    """The value of a tree in float64, or None if it contains x; NotFinite if a part without x has none."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Variable):
        return None
    if isinstance(node, Negate):
        operand = constant_value(node.operand)
        return None if operand is None else -operand
    children = (node.left, node.right) if isinstance(node, Binary) else node.arguments
    # All children are visited, so that a bad constant is found beside an x, too.
    values = [constant_value(child) for child in children]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    try:
        result = _apply(node, numbers)
    except (ArithmeticError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise NotFinite(f"has a part that is not a finite number, {tree_text(node)}")
    return result


def _apply(node: Binary | Call, numbers: list[float]) -> float:
    if isinstance(node, Call):
        if node.function in VARIADIC_FUNCTIONS:
            return max(numbers) if node.function == "max" else min(numbers)
        return _NUMBER_FUNCTIONS[node.function](*numbers)
    left, right = numbers
    if node.operator == "+":
        return left + right
    if node.operator == "-":
        return left - right
    if node.operator == "*":
        return left * right
    # math.pow and not **, which would answer (-1)**0.5 with a complex number.
    return left / right if node.operator == "/" else math.pow(left, right)


def tree_text(node: Node) -> str:
    """A tree as text, with the fewest parentheses that Python's grammar needs."""
    if isinstance(node, Number):
        return "pi" if node.value == math.pi else repr(node.value).removesuffix(".0")
    if isinstance(node, Variable):
        return "x"
    if isinstance(node, Call):
        return f"{node.function}({','.join(tree_text(argument) for argument in node.arguments)})"
    if isinstance(node, Negate):
        return "-" + _enclosed(node.operand, _PRECEDENCE["negate"])
    own = _PRECEDENCE[node.operator]
    # ** groups from the right and takes a negation there unenclosed, 2**-x; the others group from the left.
    left, right = (own + 1, _PRECEDENCE["negate"]) if node.operator == "**" else (own, own + 1)
    return _enclosed(node.left, left) + node.operator + _enclosed(node.right, right)


def _enclosed(node: Node, lowest: int) -> str:
    """The text of an operand, in parentheses where it binds less tightly than its place asks for."""
    if isinstance(node, Binary):
        own = _PRECEDENCE[node.operator]
    else:
        own = _PRECEDENCE["negate" if isinstance(node, Negate) else "atom"]
    return tree_text(node) if own >= lowest else f"({tree_text(node)})"
