"""Formulas: what is read, what is refused, and texts that survive a round trip."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from memcap.config.formula import MAX_CHARACTERS, MAX_DEPTH, parse_formula
from memcap.config.formula_tree import (
    UNARY_FUNCTIONS,
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
    tree_text,
)
from memcap.errors import BadInput

X, ONE, TWO, THREE = Variable(), Number(1.0), Number(2.0), Number(3.0)


def trees(leaves: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    def grow(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        return st.one_of(
            st.builds(Negate, children),
            st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "**"]), children, children),
            st.builds(Call, st.sampled_from(UNARY_FUNCTIONS), st.tuples(children)),
            st.builds(
                Call,
                st.sampled_from(VARIADIC_FUNCTIONS),
                st.lists(children, min_size=2, max_size=3).map(tuple),
            ),
        )

    return st.recursive(leaves, grow, max_leaves=12)


NUMBERS = st.floats(0, 1e6, allow_subnormal=False).map(abs).map(Number) | st.just(Number(math.pi))
TREES = trees(NUMBERS | st.just(X))


def is_formula(tree: Node) -> bool:
    try:
        return constant_value(tree) is None and len(tree_text(tree)) <= MAX_CHARACTERS
    except NotFinite:
        return False


@given(tree=TREES)
def test_canonical_text_parses_to_the_same_tree(tree: Node) -> None:
    assume(is_formula(tree))
    formula = Formula(tree)
    again = parse_formula(formula.canonical)
    assert again == formula
    assert again.canonical == formula.canonical


def fully_parenthesized(node: Node) -> str:
    """Every part in parentheses and spaces: an independent text of the tree, with no precedence in it."""
    if isinstance(node, Number):
        return f"( {node.value!r} )"
    if isinstance(node, Variable):
        return "( +x )"
    if isinstance(node, Negate):
        return f"( - {fully_parenthesized(node.operand)} )"
    if isinstance(node, Binary):
        return f"( {fully_parenthesized(node.left)} {node.operator} {fully_parenthesized(node.right)} )"
    return (
        f"( {node.function} ( {' , '.join(fully_parenthesized(argument) for argument in node.arguments)} ) )"
    )


@given(tree=TREES)
def test_any_text_of_a_tree_has_its_canonical_text(tree: Node) -> None:
    text = fully_parenthesized(tree)
    assume(is_formula(tree) and len(text) <= MAX_CHARACTERS)
    assert parse_formula(text) == Formula(tree)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("x", X),
        ("-x**2", Negate(Binary("**", X, TWO))),
        ("(-x)**2", Binary("**", Negate(X), TWO)),
        ("2**-x", Binary("**", TWO, Negate(X))),
        ("x**2**3", Binary("**", X, Binary("**", TWO, THREE))),
        ("x-2-3", Binary("-", Binary("-", X, TWO), THREE)),
        ("x-(2-3)", Binary("-", X, Binary("-", TWO, THREE))),
        ("1/2*x", Binary("*", Binary("/", ONE, TWO), X)),
        ("max(x,1,-x)", Call("max", (X, ONE, Negate(X)))),
        ("x*pi", Binary("*", X, Number(math.pi))),
        ("1.5e-07*x", Binary("*", Number(1.5e-7), X)),
        ("--x", Negate(Negate(X))),
        ("(x**2)**3", Binary("**", Binary("**", X, TWO), THREE)),
        ("(x+1)**(2-x)", Binary("**", Binary("+", X, ONE), Binary("-", TWO, X))),
        ("2**-x*3", Binary("*", Binary("**", TWO, Negate(X)), THREE)),
        ("2**(-x*3)", Binary("**", TWO, Binary("*", Negate(X), THREE))),
        ("-(x*2)", Negate(Binary("*", X, TWO))),
        ("x*-(2-x)", Binary("*", X, Negate(Binary("-", TWO, X)))),
        ("x/(2*3)", Binary("/", X, Binary("*", TWO, THREE))),
        ("x--1", Binary("-", X, Negate(ONE))),
    ],
)
def test_python_grammar(text: str, tree: Node) -> None:
    assert parse_formula(text).tree == tree
    assert parse_formula(text).canonical == text


@pytest.mark.parametrize("text", ["x*sin( 3*x )", "x * sin(3*x)", " (x)*(sin((3.0*+x)))\n", "x*sin(3e0*x)"])
def test_spelling_does_not_count(text: str) -> None:
    assert parse_formula(text).canonical == "x*sin(3*x)"


def test_structure_counts() -> None:
    assert parse_formula("x*2").canonical != parse_formula("2*x").canonical
    assert parse_formula("x-(1-x)") != parse_formula("x-1-x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os", "cannot be read"),
        ("__import__('os')", "unexpected character"),
        ("__import__(x)", "unknown function '__import__'"),
        ("x.real", r"no arithmetic \(Attribute\)"),
        ("x.real(x)", "not a function's name"),
        ("(lambda: x)()", "unexpected character ':'"),
        ("y+x", "unknown name 'y'"),
        ("True*x", "not a real number, True"),
        ("None", "not a real number, None"),
        ("x+...", "not a real number"),
        ("2j*x", "not a real number, 2j"),
        ("'x'", "unexpected character"),
        ("x<1", "unexpected character"),
        ("x if x else 1", r"no arithmetic \(IfExp\)"),
        ("x and 1", r"no arithmetic \(BoolOp\)"),
        ("not x", r"no arithmetic \(Not\)"),
        ("x//2", r"no arithmetic \(FloorDiv\)"),
        ("x,x", r"no arithmetic \(Tuple\)"),
        ("x^2", r"unexpected character '\^' \(a power is \*\*\)"),
        ("x # comment", "unexpected character '#'"),
        ("ｘ", "unexpected character"),
        ("x²", "unexpected character"),
        ("sin(x=1)", "unexpected character '='"),
        ("sin(**x)", "takes none by name"),
        ("sin(*x)", r"no arithmetic \(Starred\)"),
        ("sin()", "gives sin 0 arguments instead of 1"),
        ("sin(x,x)", "gives sin 2 arguments instead of 1"),
        ("max(x)", "gives max 1 of at least 2 arguments"),
        ("sin", r"without its argument, sin\(...\)"),
        ("sinn(x)", r"unknown function 'sinn' \(did you mean sin\?\)"),
        ("x(3)", r"a product needs its \*"),
        ("3(x)", r"a product needs its \*"),
        ("3x", "cannot be read"),
        ("3and x", "cannot be read|no arithmetic"),
        ("x+", "cannot be read"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("3*pi", "does not contain x"),
        ("x+" + "0" * MAX_CHARACTERS, "too long"),
        ("(1e15*x)" + "+1e15*x" * 60, "too long"),
        ("-" * (MAX_DEPTH + 1) + "x", "nested too deeply"),
        ("-" * (MAX_CHARACTERS - 1) + "x", "nested too deeply|cannot be read"),
        ("(" * 240 + "x" + ")" * 240, "cannot be read"),
        ("x*1e999", "number that is not finite"),
        ("x*1" + "0" * 400, "number that is not finite"),
        ("x*9**9**9**9", r"not a finite number, 9\*\*9\*\*9;"),
        ("x+1/0", r"not a finite number, 1/0"),
        ("x*sqrt(-1)", r"not a finite number, sqrt\(-1\)"),
        ("x*(-1)**0.5", "not a finite number"),
        ("max(x,exp(1e4))", "not a finite number"),
        ("log1p(-1)", "not a finite number"),
    ],
)
def test_everything_else_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as raised:
        parse_formula(text)
    message = str(raised.value)
    assert message.startswith("activation.formula: ")
    assert "expected an expression in x" in message
    assert "\n" not in message
    assert len(message) < 400


@given(text=st.text(max_size=40) | st.text("x123.+-*/(),sincoexp ", max_size=40))
def test_any_text_is_a_formula_or_bad_input(text: str) -> None:
    try:
        formula = parse_formula(text)
    except BadInput:
        return
    assert parse_formula(formula.canonical) == formula


def test_the_deepest_formula_is_read() -> None:
    text = "-" * (MAX_DEPTH - 1) + "x"
    assert parse_formula(text).canonical == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9**9", 387420489.0),
        ("2**0.5", math.sqrt(2)),
        ("sigmoid(-1000)", 0.0),
        ("sigmoid(1000)", 1.0),
        ("softplus(-40)", math.exp(-40)),
        ("softplus(1000)", 1000.0),
        ("max(1,-2,3)-min(1,-2,3)", 5.0),
        ("relu(-2)+abs(-2)", 2.0),
        ("erf(1)+log1p(1)", math.erf(1) + math.log(2)),
    ],
)
def test_constant_value(text: str, value: float) -> None:
    tree = parse_formula(f"x+({text})").tree
    assert isinstance(tree, Binary)
    assert constant_value(tree) is None
    assert constant_value(tree.right) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("value", [-1.0, -0.0, math.inf, math.nan])
def test_numbers_carry_no_sign(value: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        Number(value)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, memcap.config.formula; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
