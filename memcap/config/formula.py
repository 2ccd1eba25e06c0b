"""Reading a formula in x from text, without ever executing the text.

Python's ``ast`` splits the text, and its syntax tree is copied into the few nodes of
``memcap.config.formula_tree``; whatever has no node there is refused by not being known.
"""

from __future__ import annotations

import ast
import math
import re
import warnings

from memcap.config.formula_tree import (
    FUNCTIONS,
    VARIADIC_FUNCTIONS,
    Binary,
    Call,
    Formula,
    Negate,
    Node,
    NotFinite,
    Number,
    Variable,
    constant_value,
)
from memcap.errors import BadInput, nearest

__all__ = ["Formula", "parse_formula"]

MAX_CHARACTERS = 500
MAX_DEPTH = 100

# A number equal to one of these is written back by its name in the canonical text.
CONSTANTS = {"pi": math.pi}

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
}


class _Refused(Exception):
    """Why a text is no formula, as the middle of a sentence."""


def parse_formula(text: str) -> Formula:
    """The formula of a text such as ``x*sin(3*x)``.

    Allowed are numbers, pi, x, + - * / **, parentheses and calls of ``FUNCTIONS``. Everything else is refused
    with BadInput, and so are a formula without x, a part without x that is not a finite number (1/0,
    sqrt(-1), 9**9**9**9), more than MAX_CHARACTERS and nesting deeper than MAX_DEPTH.
    """
    try:
        formula = Formula(_tree(_syntax(text), depth=1))
        if constant_value(formula.tree) is not None:
            raise _Refused("does not contain x")
        # The canonical text must itself be a formula, and 1e15 is written out in 16 digits there.
        _check_length(formula.canonical)
    except (_Refused, NotFinite) as refused:
        shown = repr(text if len(text) <= 80 else text[:77] + "...")
        raise BadInput(
            f"activation.formula: {shown} {refused}; expected an expression in x, like x*sin(3*x), with "
            f"+ - * / **, pi and {' '.join(FUNCTIONS)}"
        ) from None
    return formula


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise _Refused(f"is too long ({len(text)} characters, at most {MAX_CHARACTERS})")


def _syntax(text: str) -> ast.expr:
    """Python's syntax tree of the text."""
    _check_length(text)
    if not text.strip():
        raise _Refused("is empty")
    # Python would read some letters of other scripts as x, and text after # as a comment.
    unexpected = re.search(r"[^A-Za-z0-9_.,()+\-*/\s]", text, re.ASCII)
    if unexpected:
        hint = " (a power is **)" if unexpected.group() == "^" else ""
        raise _Refused(f"has an unexpected character {unexpected.group()!r}{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python only warns about 3and x
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
        reason = f" ({error.msg})" if isinstance(error, SyntaxError) else ""
        raise _Refused(f"cannot be read{reason}") from None


def _tree(syntax: ast.expr, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _Refused(f"is nested too deeply (more than {MAX_DEPTH} levels)")
    if isinstance(syntax, ast.Constant):
        return _number(syntax.value)
    if isinstance(syntax, ast.Name):
        return _name(syntax.id)
    if isinstance(syntax, ast.UnaryOp) and isinstance(syntax.op, ast.UAdd | ast.USub):
        operand = _tree(syntax.operand, depth + 1)
        return Negate(operand) if isinstance(syntax.op, ast.USub) else operand
    if isinstance(syntax, ast.BinOp) and type(syntax.op) in _OPERATORS:
        left, right = _tree(syntax.left, depth + 1), _tree(syntax.right, depth + 1)
        return Binary(_OPERATORS[type(syntax.op)], left, right)
    if isinstance(syntax, ast.Call):
        return _call(syntax, depth)
    what = syntax.op if isinstance(syntax, ast.BinOp | ast.UnaryOp) else syntax
    raise _Refused(f"has a part that is no arithmetic ({type(what).__name__})")


def _number(value: object) -> Number:
    # type() and not isinstance: True is an int to Python.
    if type(value) is not int and type(value) is not float:
        raise _Refused(f"has a constant that is not a real number, {value!r}")
    try:
        return Number(float(value))
    except (OverflowError, ValueError):
        raise _Refused("has a number that is not finite") from None


def _name(name: str) -> Node:
    if name == "x":
        return Variable()
    if name in CONSTANTS:
        return Number(CONSTANTS[name])
    if name in FUNCTIONS:
        raise _Refused(f"names the function {name} without its argument, {name}(...)")
    raise _Refused(f"has an unknown name {name!r}{nearest(name, ('x', *CONSTANTS, *FUNCTIONS))}")


def _call(syntax: ast.Call, depth: int) -> Call:
    if not isinstance(syntax.func, ast.Name):
        raise _Refused("calls something that is not a function's name (a product needs its *)")
    name, count = syntax.func.id, len(syntax.args)
    if name not in FUNCTIONS:
        hint = " (a product needs its *)" if name in ("x", *CONSTANTS) else nearest(name, FUNCTIONS)
        raise _Refused(f"calls an unknown function {name!r}{hint}")
    if syntax.keywords:
        raise _Refused(f"names an argument of {name}, which takes none by name")
    if name in VARIADIC_FUNCTIONS:
        if count < 2:
            raise _Refused(f"gives {name} {count} of at least 2 arguments")
    elif count != 1:
        raise _Refused(f"gives {name} {count} arguments instead of 1")
    return Call(name, tuple(_tree(argument, depth + 1) for argument in syntax.args))
