"""Activations as short programs: what the kernel reads instead of being compiled for each of them.

A program is a list of operations on registers, each of which holds a stretch of values with their derivatives
by x. Text of the user's is never executed: a formula's tree, whose nodes are known, becomes numbers in an array.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import numpy as np

from memcap.config.formula import parse_formula
from memcap.config.formula_tree import Binary, Call, Negate, Node, constant_value

INPUT = 0  # the register of x


class Op(enum.IntEnum):
    """Operations; c is the number that stands in the operation itself."""

    COPY = enum.auto()
    NEGATE = enum.auto()
    ADD = enum.auto()
    SUBTRACT = enum.auto()
    MULTIPLY = enum.auto()
    DIVIDE = enum.auto()
    MAX = enum.auto()
    MIN = enum.auto()
    ADD_NUMBER = enum.auto()  # a + c
    SUBTRACT_FROM_NUMBER = enum.auto()  # c - a
    MULTIPLY_NUMBER = enum.auto()  # a c
    DIVIDE_BY_NUMBER = enum.auto()  # a / c
    DIVIDE_NUMBER = enum.auto()  # c / a
    WHOLE_POWER = enum.auto()  # a^c, c = 1, 2, 3 ...
    MAX_NUMBER = enum.auto()
    MIN_NUMBER = enum.auto()
    POWER = enum.auto()
    POWER_NUMBER = enum.auto()  # a^c
    NUMBER_POWER = enum.auto()  # c^a
    SIN = enum.auto()
    COS = enum.auto()
    SOFTPLUS = enum.auto()
    LOG1P = enum.auto()
    RELU = enum.auto()
    ABS = enum.auto()
    SQRT = enum.auto()
    EXP = enum.auto()
    TANH = enum.auto()
    SIGMOID = enum.auto()
    SILU = enum.auto()
    ERF = enum.auto()
    GELU = enum.auto()


MOST_FACTORS = 8  # of a whole power, which is multiplied out

_BETWEEN = {"+": Op.ADD, "-": Op.SUBTRACT, "*": Op.MULTIPLY, "/": Op.DIVIDE, "**": Op.POWER}
_WITH_NUMBER_RIGHT = {"*": Op.MULTIPLY_NUMBER, "+": Op.ADD_NUMBER, "/": Op.DIVIDE_BY_NUMBER}
_WITH_NUMBER_LEFT = {
    "*": Op.MULTIPLY_NUMBER,
    "+": Op.ADD_NUMBER,
    "-": Op.SUBTRACT_FROM_NUMBER,
    "/": Op.DIVIDE_NUMBER,
    "**": Op.NUMBER_POWER,
}
_EXTREMA = {"max": (Op.MAX, Op.MAX_NUMBER, max), "min": (Op.MIN, Op.MIN_NUMBER, min)}
_PLAIN: dict[str, list[tuple[Op, float]]] = {
    "relu": [(Op.RELU, 0.0)],
    "relu2": [(Op.RELU, 0.0), (Op.WHOLE_POWER, 2.0)],
    "relu3": [(Op.RELU, 0.0), (Op.WHOLE_POWER, 3.0)],
    "relu4": [(Op.RELU, 0.0), (Op.WHOLE_POWER, 4.0)],
    "silu": [(Op.SILU, 0.0)],
    "gelu": [(Op.GELU, 0.0)],
    "tanh": [(Op.TANH, 0.0)],
    "identity": [(Op.COPY, 0.0)],
}


# Pieces (``memcap.engines.fused.operations``) by the operations that they do, in the order of their numbers.
PIECES: dict[str, tuple[Op, ...]] = {
    "between": tuple(op for op in Op if op <= Op.MIN),
    "with_number": tuple(op for op in Op if Op.ADD_NUMBER <= op <= Op.MIN_NUMBER),
    "power": (Op.POWER, Op.POWER_NUMBER, Op.NUMBER_POWER),
    "sine": (Op.SIN, Op.COS),
    "logarithm": (Op.SOFTPLUS, Op.LOG1P),
    "algebraic": (Op.RELU, Op.ABS, Op.SQRT),
    "exponential": (Op.EXP, Op.TANH, Op.SIGMOID, Op.SILU, Op.ERF, Op.GELU),
}


class Program(NamedTuple):
    """``operations`` [ops, 4]: piece, op and two registers, its operands; its result is the next register from 1 on."""

    operations: np.ndarray
    numbers: np.ndarray

    @classmethod
    def empty(cls) -> Program:
        """Of a network without activations."""
        return cls(np.zeros((0, 4), dtype=np.int64), np.zeros(0))


class _Writer:
    def __init__(self) -> None:
        self.lines: list[tuple[int, int, int, int]] = []
        self.numbers: list[float] = []

    def write(self, op: Op, left: int, right: int = INPUT, number: float = 0.0) -> int:
        piece = next(place for place, ops in enumerate(PIECES.values()) if op in ops)
        self.lines.append((piece, int(op), left, right))
        self.numbers.append(number)
        return len(self.lines)

    def program(self) -> Program:
        return Program(np.array(self.lines, dtype=np.int64), np.array(self.numbers))


def activation_program(activation: Any) -> Program:
    """The program of a built-in activation, from the configuration of one member."""
    writer = _Writer()
    if activation.kind == "formula":
        last = _tree(writer, parse_formula(activation.formula).tree)
        if last == INPUT:
            writer.write(Op.COPY, INPUT)
        return writer.program()
    if activation.kind == "sin":
        lines = [(Op.MULTIPLY_NUMBER, activation.frequency), (Op.SIN, 0.0)]
    else:
        lines = _PLAIN[activation.kind]
    register = INPUT
    for op, number in lines:
        register = writer.write(op, register, number=number)
    return writer.program()


def _tree(writer: _Writer, node: Node) -> int:
    """Writes what computes a tree that contains x; returns the register of its value."""
    if isinstance(node, Negate):
        return writer.write(Op.NEGATE, _tree(writer, node.operand))
    if isinstance(node, Binary):
        return _binary(writer, node)
    if isinstance(node, Call):
        if node.function in _EXTREMA:
            return _extremum(writer, node)
        return writer.write(Op[node.function.upper()], _tree(writer, node.arguments[0]))
    return INPUT


def _binary(writer: _Writer, node: Binary) -> int:
    left, right = constant_value(node.left), constant_value(node.right)
    if left is not None:
        return writer.write(_WITH_NUMBER_LEFT[node.operator], _tree(writer, node.right), number=left)
    if right is None:
        first = _tree(writer, node.left)
        return writer.write(_BETWEEN[node.operator], first, _tree(writer, node.right))
    operand = _tree(writer, node.left)
    if node.operator == "-":
        return writer.write(Op.ADD_NUMBER, operand, number=-right)
    if node.operator == "**":
        is_whole = right.is_integer() and 1 <= right <= MOST_FACTORS
        return writer.write(Op.WHOLE_POWER if is_whole else Op.POWER_NUMBER, operand, number=right)
    return writer.write(_WITH_NUMBER_RIGHT[node.operator], operand, number=right)


def _extremum(writer: _Writer, node: Call) -> int:
    """The trees two by two, then the numbers, which are one."""
    of_two, with_number, of_numbers = _EXTREMA[node.function]
    values = [constant_value(argument) for argument in node.arguments]
    trees = [argument for argument, value in zip(node.arguments, values, strict=True) if value is None]
    result = _tree(writer, trees[0])
    for tree in trees[1:]:
        result = writer.write(of_two, result, _tree(writer, tree))
    numbers = [value for value in values if value is not None]
    return writer.write(with_number, result, number=of_numbers(numbers)) if numbers else result
