"""Which formulas are one function: what is built in, spelled otherwise, and what only looks like it."""

from __future__ import annotations

import pytest

from memcap.leaderboard.entry import formula_entry
from memcap.leaderboard.protocol import board_session, protocol_of
from memcap.leaderboard.same_function import same_function

ENTRIES = protocol_of((), board_session()).entries


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_what_conf_ranks_are_different_functions_and_their_texts_say_which(entry: object) -> None:
    others = [other for other in ENTRIES if other is not entry]
    assert same_function(entry, others) is None  # type: ignore[arg-type]
    text = entry.text.replace("Phi(x)", "(1+erf(x/sqrt(2)))/2")  # type: ignore[attr-defined]
    assert same_function(formula_entry(text), ENTRIES) is entry


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("x/(1+exp(-x))", "silu"),
        ("(x+abs(x))/2", "relu"),
        ("x*max(0,x)", "relu2"),
        ("2*sigmoid(2*x)-1", "tanh"),
        ("sin(5*x+5*x)", "sin10"),
        ("2*sin(x/2)*cos(x/2)", "sin1"),
        ("exp(-x*x)", "gauss"),
        ("relu(x+1)-2*relu(x)+relu(x-1)", "hat"),
    ],
)
def test_another_spelling_is_the_same(formula: str, name: str) -> None:
    found = same_function(formula_entry(formula), ENTRIES)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "formula",
    ["min(max(x,0),6)", "x*sigmoid(1.000001*x)", "-x", "2*x", "sin(10.00001*x)", "max(x,0)+0.000001*x",
     "0.0000000001*x", "x+exp(-x**2)*0.000001", "sqrt(-1-x**2)",
     "x*exp(x)/(1+exp(x))"],
)  # fmt: skip
def test_what_is_only_near_is_another(formula: str) -> None:
    assert same_function(formula_entry(formula), ENTRIES) is None


def test_scale_and_overflow() -> None:
    def same(first: str, second: str) -> bool:
        return same_function(formula_entry(first), [formula_entry(second)]) is not None

    assert same("exp(exp(x))", "exp( exp(x) )")
    assert same("exp(2*x)", "exp(x)*exp(x)")
    assert not same("exp(exp(x))", "exp(exp(x))+x")
    assert not same("0.0000000001*x", "0.0000000002*x")
    assert not same("sqrt(-1-x**2)", "log1p(-2-x**2)")  # nowhere a number
