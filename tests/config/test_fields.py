"""Types and constraints of single values, and the messages for those that do not fit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.config.fields import (
    REQUIRED,
    build,
    convert,
    counts,
    expectation,
    ignored,
    per_member_fields,
    schema_fields,
)
from memcap.errors import BadInput

NO_CONSTRAINTS: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Small:
    """A schema with one field of each type."""

    size: int = counts(at_least=1)
    rate: float = counts(above=0, at_most=1, per_member=True)
    limit: float | None = ignored(above=0)
    mode: str = counts(choices=("fast", "exact"))
    flag: bool = ignored()
    names: tuple[str, ...] = ignored()


GOOD = {"size": 3, "rate": 0.5, "limit": None, "mode": "fast", "flag": True, "names": ["a"]}


@pytest.mark.parametrize(
    ("value", "hint", "typed"),
    [
        (1, float, 1.0),
        (-0.0, float, 0.0),
        (0.1, float, 0.1),
        (1e4, int, 10_000),
        (True, bool, True),
        ("text", str, "text"),
        (3, str, "3"),
        (["a", 1], tuple[str, ...], ("a", "1")),
        ([], tuple[str, ...], ()),
        (None, int | None, None),
        (2.0, int | None, 2),
    ],
)
def test_a_value_gets_the_type_of_its_field(value: Any, hint: Any, typed: Any) -> None:
    result = convert(value, hint, "key", NO_CONSTRAINTS)
    assert result == typed
    assert type(result) is type(typed)
    if typed == 0.0 and isinstance(typed, float):
        assert math.copysign(1, result) == 1


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (2.5, int, "key must be a whole number, got 2.5"),
        ("wide", int, 'key must be a whole number, got "wide"'),
        ("8", int, 'key must be a whole number, got "8"'),
        (True, int, "key must be a whole number, got true"),
        (False, float, "key must be a number, got false"),
        (math.nan, float, "key must be a number, got nan"),
        (math.inf, float, "key must be a number, got inf"),
        (-math.inf, float | None, "key must be a number or null, got -inf"),
        (math.nan, int, "key must be a whole number, got nan"),
        (1e300, int, "key must be a whole number, got 1e+300 (too large)"),
        (10**400, int, f"key must be a whole number, got {10**400} (too large)"),
        (10**400, float, f"key must be a number, got {10**400} (too large)"),
        (1, bool, "key must be true or false, got 1"),
        ("true", bool, 'key must be true or false, got "true"'),
        (None, str, "key must be text, got null"),
        (["a"], str, "key must be text, got ['a']"),
        ("a", tuple[str, ...], 'key must be a list of text, got "a"'),
        ([["a"]], tuple[str, ...], "key must be a list of text, got [['a']]"),
        ({}, float, "key must be a number, got {}"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        convert(value, hint, "key", NO_CONSTRAINTS)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (counts(at_least=1), 0, "must be a number ≥ 1, got 0"),
        (counts(above=0), 0, "must be a number > 0, got 0"),
        (counts(below=1), 1, "must be a number < 1, got 1"),
        (counts(at_most=1), 1.5, "must be a number ≤ 1, got 1.5"),
        (counts(at_least=0, below=1), -0.5, "must be a number ≥ 0 and < 1, got -0.5"),
        (ignored(above=0), -1, "must be a number > 0, got -1"),
    ],
)
def test_bounds(field: Any, value: float, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        convert(value, float, "key", field.metadata)
    assert str(refused.value) == f"key {message}"


@pytest.mark.parametrize(
    ("field", "inside"),
    [
        (counts(at_least=1), 1.0),
        (counts(at_most=1), 1.0),
        (counts(above=0), 5e-324),
        (counts(below=1), math.nextafter(1, 0)),
    ],
)
def test_bounds_hold_what_they_say(field: Any, inside: float) -> None:
    assert convert(inside, float, "key", field.metadata) == inside


def test_choices_name_the_nearest() -> None:
    metadata = counts(choices=("memorized", "plateau")).metadata
    assert convert("plateau", str, "key", metadata) == "plateau"
    with pytest.raises(BadInput) as refused:
        convert("memorised", str, "key", metadata)
    message = 'key must be one of memorized, plateau, got "memorised" (did you mean memorized?)'
    assert str(refused.value) == message


def test_expectations_in_words() -> None:
    expected = {
        "size": "a whole number ≥ 1",
        "rate": "a number > 0 and ≤ 1",
        "limit": "a number > 0 or null",
        "mode": "one of fast, exact",
        "flag": "true or false",
        "names": "a list of text",
    }
    assert {f.name: expectation(hint, f.metadata) for f, hint in schema_fields(Small)} == expected


def test_build_types_every_value() -> None:
    built = build(Small, {**GOOD, "size": 4.0, "rate": 1}, "small")
    assert built == Small(size=4, rate=1.0, limit=None, mode="fast", flag=True, names=("a",))
    assert (type(built.size), type(built.rate)) == (int, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**GOOD, "sise": 3},
            "small.sise is not a key of small=one (did you mean size?); keys: size, rate, limit, mode, flag, names",
        ),
        (
            {**GOOD, "kind": "other"},
            "small.kind is not a key of small=one; keys: size, rate, limit, mode, flag, names",
        ),
        ({**GOOD, "size": 0}, "small.size must be a whole number ≥ 1, got 0"),
        (
            {k: v for k, v in GOOD.items() if k != "rate"},
            "small.rate is missing; every value stands in YAML or on the command line",
        ),
        (None, "small must be a group of keys, got None"),
        ([1], "small must be a group of keys, got [1]"),
    ],
)
def test_build_refuses(values: Any, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        build(Small, values, "small", "small=one")
    assert str(refused.value) == message


def test_without_a_place_keys_stand_alone() -> None:
    with pytest.raises(BadInput, match=r"^size must be a whole number ≥ 1, got 0$"):
        build(Small, {**GOOD, "size": 0}, "")


@given(value=st.text(), hint=st.sampled_from([int, float, bool, int | None]))
def test_a_message_is_one_line_whatever_was_given(value: str, hint: Any) -> None:
    with pytest.raises(BadInput) as refused:
        convert(value, hint, "group.key", NO_CONSTRAINTS)
    assert len(str(refused.value).split("\n")) == 1
    assert str(refused.value).startswith("group.key must be ")


@given(value=st.integers(-(2**53), 2**53))
def test_whole_floats_and_integers_are_the_same(value: int) -> None:
    assert convert(float(value), int, "key", {}) == value
    assert convert(value, float, "key", {}) == float(value)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_conversion_is_idempotent(value: float) -> None:
    once = convert(value, float, "key", {})
    assert convert(once, float, "key", {}) == once == value


def test_what_a_field_declares() -> None:
    declared = {field.name: field.metadata for field, _ in schema_fields(Small)}
    assert {name: m["identity"] for name, m in declared.items()} == {
        "size": "counts",
        "rate": "counts",
        "limit": "ignored",
        "mode": "counts",
        "flag": "ignored",
        "names": "ignored",
    }
    assert declared["size"]["absent_value"] is REQUIRED
    assert per_member_fields(Small) == ["rate"]
