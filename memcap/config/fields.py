"""Fields of the schema: their types and constraints, and whether they count in a run's identity."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from memcap.errors import BadInput, nearest

REQUIRED = object()  # absent_value of a field that is always in the hash
INT_LIMIT = 2**63  # no count of anything is larger, and arithmetic with it stays within floats
Schema = TypeVar("Schema")


def counts(
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] | None = None,
    per_member: bool = False,
    absent_value: Any = REQUIRED,
) -> Any:
    """A field that can change the numbers, so it is part of the run's identity.

    ``per_member``: members of one population may differ in it. ``absent_value``: for a field added later, the
    value that means what older versions did; equal to it, the field is left out of the hash and old ids stay.
    """
    bounds = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    return dataclasses.field(
        metadata={
            "identity": "counts",
            "bounds": {k: v for k, v in bounds.items() if v is not None},
            "choices": choices,
            "per_member": per_member,
            "absent_value": absent_value,
        }
    )


def ignored(
    *,
    above: float | None = None,
    at_least: float | None = None,
    choices: tuple[str, ...] | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field that cannot change the numbers: paths, tracking, what is measured, where it runs."""
    bounds = {"above": above, "at_least": at_least}
    metadata = {
        "identity": "ignored",
        "bounds": {k: v for k, v in bounds.items() if v is not None},
        "choices": choices,
    }
    return dataclasses.field(metadata=metadata, default=default)


def schema_fields(schema: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    """The fields of a schema class, each with its resolved type."""
    return _resolved_fields(schema)


@functools.cache
def _resolved_fields(schema: Any) -> tuple[tuple[dataclasses.Field[Any], Any], ...]:
    hints = typing.get_type_hints(schema)
    return tuple((field, hints[field.name]) for field in dataclasses.fields(schema))


def per_member_fields(schema: Any) -> list[str]:
    """Names of the fields in which members of one population may differ."""
    return [field.name for field, _ in schema_fields(schema) if field.metadata.get("per_member")]


def build(schema: type[Schema], values: Any, where: str, what: str = "") -> Schema:
    """An instance of ``schema`` from plain values, typed and checked; ``where`` is the key that holds them.

    Raises BadInput that names the key, what it got and what it expects. ``what`` names the chosen option for
    the message about an unknown key, for example ``model=linear``.
    """
    if not isinstance(values, Mapping):
        raise BadInput(f"{where or 'the configuration'} must be a group of keys, got {values!r}")
    known = {field.name: (field, hint) for field, hint in schema_fields(schema)}
    for name in values:
        if name not in known and not (name == "kind" and hasattr(schema, "kind")):
            keys = ", ".join(k for k in known if not k.startswith("_"))
            of = f" of {what}" if what else ""
            raise BadInput(f"{_join(where, name)} is not a key{of}{nearest(str(name), known)}; keys: {keys}")
    arguments = {}
    for name, (field, hint) in known.items():
        if name in values:
            arguments[name] = convert(values[name], hint, _join(where, name), field.metadata)
        elif field.default is dataclasses.MISSING:
            raise BadInput(
                f"{_join(where, name)} is missing; every value stands in YAML or on the command line"
            )
    return schema(**arguments)


def convert(value: Any, hint: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    """One value, converted to its type (1 becomes 1.0 for a float, 1e4 becomes 10000 for an int) and checked."""
    alternatives = _alternatives(hint)
    if value is None:
        if type(None) in alternatives:
            return None
        raise BadInput(f"{where} must be {expectation(hint, metadata)}, got null")
    target = next(a for a in alternatives if a is not type(None))
    typed = _typed(value, target)
    if typed is None or not _within(typed, metadata.get("bounds", {})):
        large = type(value) in (int, float) and INT_LIMIT <= value < math.inf
        size = " (too large)" if large else ""
        raise BadInput(f"{where} must be {expectation(hint, metadata)}, got {_show(value)}{size}")
    choices = metadata.get("choices")
    if choices and typed not in choices:
        hint_text = nearest(str(value), choices)
        raise BadInput(f"{where} must be {expectation(hint, metadata)}, got {_show(value)}{hint_text}")
    return typed


def expectation(hint: Any, metadata: Mapping[str, Any]) -> str:
    """What a field accepts, in words: 'a whole number >= 1', 'one of none, memorized'."""
    alternatives = _alternatives(hint)
    target = next(a for a in alternatives if a is not type(None))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    signs = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
    if metadata.get("choices"):
        text = "one of " + ", ".join(metadata["choices"])
    else:
        bounds = [f"{signs[k]} {v:g}" for k, v in metadata.get("bounds", {}).items()]
        text = names.get(target, "a list of text") + (" " + " and ".join(bounds) if bounds else "")
    return text + (" or null" if type(None) in alternatives else "")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)


def _typed(value: Any, target: Any) -> Any:
    """The value as ``target``, or None where it is not one (a bool is never a number)."""
    if target is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if target is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return int(value) if whole and abs(value) < INT_LIMIT else None
    if target is float:
        if isinstance(value, int):
            return float(value) if abs(value) < INT_LIMIT else None
        if not isinstance(value, float) or not math.isfinite(value):
            return None
        return float(value) + 0.0  # -0.0 becomes 0.0: equal values have equal ids
    if target is str:
        return str(value) if isinstance(value, str | int | float) else None
    if isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
        return tuple(str(v) for v in value)
    return None


def _within(value: Any, bounds: Mapping[str, float]) -> bool:
    tests = {
        "above": lambda v, b: v > b,
        "at_least": lambda v, b: v >= b,
        "below": lambda v, b: v < b,
        "at_most": lambda v, b: v <= b,
    }
    return all(tests[name](value, bound) for name, bound in bounds.items())


def _show(value: Any) -> str:
    """The value as YAML would have it, on one line."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)


def _join(where: str, name: Any) -> str:
    return f"{where}.{name}" if where else str(name)
