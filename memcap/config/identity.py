"""A run's identity: a hash of everything that can change its numbers, and of nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from memcap.config.fields import REQUIRED, schema_fields
from memcap.config.run_config import RunConfig
from memcap.config.schema import COMPONENTS

ID_DIGITS = 12  # hex; 48 bits: among 100,000 runs two share an id with a chance of 2e-5


def identity_payload(config: RunConfig) -> dict[str, Any]:
    """What is hashed: typed values that count, components by kind and version, never by import path."""
    payload = _counted(config)
    for key in config.inert_keys():
        _remove(payload, key.split("."))
    return payload


def run_id(config: RunConfig) -> str:
    """The first 12 hex digits of the SHA-256 of the payload's canonical JSON."""
    return digest(identity_payload(config))[:ID_DIGITS]


def population_key(config: RunConfig) -> str:
    """Equal for runs that can train as one population: the same but for what may differ per member."""
    key = {
        "identity": _counted(config, per_member=False),
        "finite": config.data.num_samples is not None,
        "hardware": dataclasses.astuple(config.hardware),
        "measure": dataclasses.astuple(config.measure),
        "targets": [getattr(config, part)._target_ for part in COMPONENTS],
    }
    return digest(key)


def study_name(
    config: RunConfig, preset: str | None, axes: Sequence[str], fixed_overrides: Iterable[str] = ()
) -> str:
    """The default name of a study: preset or model, swept axes, and six hex digits of all that is fixed.

    The same command finds its own study again, and a wider sweep over the same axes joins it. Of a group that
    is swept (``optimizer=adam,sgd``) only those values are fixed that the command line sets, for all options:
    ``fixed_overrides``.
    """
    # With the model swept, nothing may depend on which model comes first.
    fixed = _counted(config) if "model" in axes else identity_payload(config)
    # An output dimension that follows a swept input dimension is not fixed either.
    derived = config.model.derived_keys(config.data) if any(a.startswith("data") for a in axes) else ()
    for axis in [*axes, *(f"model.{name}" for name in derived)]:
        _remove(fixed, axis.split("."))
    first = preset or ("" if "model" in axes else config.model.kind)
    words = [word for word in (first, *(axis.rsplit(".", 1)[-1] for axis in axes)) if word]
    name = "-".join(word.replace("/", ".") for word in words)[:100]
    within = sorted(text for text in fixed_overrides if text.partition(".")[0] in axes)
    return f"{name}-{digest([fixed, sorted(axes), *within])[:6]}"


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces, floats in their shortest exact form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _counted(value: Any, *, per_member: bool = True) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    if getattr(value, "kind", ""):
        counted |= {"kind": value.kind, "version": value.version}
    for field, _ in schema_fields(type(value)):
        meta = field.metadata
        inner = getattr(value, field.name)
        if meta["identity"] == "ignored" or (not per_member and meta["per_member"]):
            continue
        if meta["absent_value"] is not REQUIRED and inner == meta["absent_value"]:
            continue
        counted[field.name] = (
            _counted(inner, per_member=per_member) if dataclasses.is_dataclass(inner) else inner
        )
    return counted


def _remove(payload: dict[str, Any], path: list[str]) -> None:
    for name in path[:-1]:
        payload = payload.get(name, {})
        if not isinstance(payload, dict):
            return
    payload.pop(path[-1], None)
