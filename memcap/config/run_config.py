"""The configuration of one run: composed by Hydra as plain values, typed and checked here."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from memcap.config.fields import build, counts, ignored, schema_fields
from memcap.config.measure_schema import MeasureConfig, check_measure
from memcap.config.schema import (
    BASE_CLASSES,
    CLASSES,
    COMPONENTS,
    ActivationConfig,
    BudgetConfig,
    CheckpointConfig,
    CompareConfig,
    DataConfig,
    HardwareConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PathsConfig,
    RecordsConfig,
    ScheduleConfig,
    TrackingConfig,
    check_budget,
    check_hardware,
    check_together,
)
from memcap.config.searching import check_searching
from memcap.errors import BadInput, nearest

TRUSTED_TARGETS = ("memcap.", "torch.")
# Read before there are runs.
NOT_OF_A_RUN = ("zip", "cells", "size", "sizes", "hydra", "launcher", "search", "leaderboard")
PARTS: dict[str, type[Any]] = {
    "budget": BudgetConfig,
    "hardware": HardwareConfig,
    "measure": MeasureConfig,
    "tracking": TrackingConfig,
    "paths": PathsConfig,
    "records": RecordsConfig,
    "checkpoint": CheckpointConfig,
    "compare": CompareConfig,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopLevel:
    """The keys that stand in no group."""

    seed: int = counts(at_least=0, at_most=2**63 - 1, per_member=True)
    restart: int = counts(at_least=0, at_most=2**63 - 1, per_member=True, absent_value=0)
    study: str | None = ignored()
    force: bool = ignored()
    fail_fast: bool = ignored()
    max_attempts: int = ignored(at_least=1)
    allow_targets: tuple[str, ...] = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(TopLevel):
    """One training of one configuration with one seed, checked as a whole."""

    data: DataConfig = counts()
    model: ModelConfig = counts()
    activation: ActivationConfig = counts()
    objective: ObjectiveConfig = counts()
    optimizer: OptimizerConfig = counts()
    schedule: ScheduleConfig = counts()
    budget: BudgetConfig = counts()
    hardware: HardwareConfig = counts()
    measure: MeasureConfig = ignored()
    tracking: TrackingConfig = ignored()
    paths: PathsConfig = ignored()
    records: RecordsConfig = ignored()
    checkpoint: CheckpointConfig = ignored()
    compare: CompareConfig = ignored()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """A checked configuration from plain nested values; raises BadInput with one line."""
        _check_size(values.get("size"), values.get("sizes") or ())
        values = {k: v for k, v in values.items() if k not in NOT_OF_A_RUN}
        _check_keys(values)
        top = build(TopLevel, {k: v for k, v in values.items() if k not in COMPONENTS and k not in PARTS}, "")
        parts: dict[str, Any] = {}
        for group in COMPONENTS:
            parts[group] = _component(group, values.get(group), top.allow_targets)
        for name, schema in PARTS.items():
            parts[name] = build(schema, values.get(name, {}), name)
        parts["model"] = parts["model"].resolved(parts["data"])
        check_together(parts["data"], parts["model"], parts["objective"])
        check_budget(parts["budget"], parts["schedule"], parts["data"])
        check_hardware(parts["hardware"])
        check_searching(parts["optimizer"], parts["schedule"], parts["data"], parts["hardware"])
        check_measure(parts["measure"], parts["model"].num_parameters(parts["data"]))
        return cls(**{field.name: getattr(top, field.name) for field in dataclasses.fields(top)}, **parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values that ``from_dict`` reads back to an equal configuration."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def inert_keys(self) -> list[str]:
        """Keys that cannot change this run's numbers, because nothing in it reads them; they are not in its id."""
        keys = [f"budget.{name}" for name in self.budget.inert()]
        if not self.model.uses_activation:
            keys.append("activation")
        if getattr(self.model, "depth", None) == 1:
            keys.append("model.residual")  # skips go around the layers between hidden ones
        if self.data.targets == CLASSES:
            keys.append("objective.use_importance")
        if self.data.num_samples is not None:
            keys.append("data.evaluation_samples")
        return keys

    @property
    def num_parameters(self) -> int:
        return self.model.num_parameters(self.data)


def _check_size(size: object, sizes: Sequence[str]) -> None:
    """A size is a preset's: without one of its own it would be some other sweep under a well-known name."""
    if size is not None and size not in sizes:
        has = f"it has {', '.join(sizes)}" if sizes else "it has no sizes"
        raise BadInput(
            f"size={size} needs a preset that has it, got one without ({has}); use another, or no size"
        )


def _check_keys(values: Mapping[str, Any]) -> None:
    """Unknown keys at the top, where the nearest one may be a group."""
    known = [field.name for field in dataclasses.fields(RunConfig)]
    for name in values:
        if name not in known:
            raise BadInput(f"{name} is not a key{nearest(str(name), known)}; keys: {', '.join(known)}")


def _component(group: str, values: Any, allowed: tuple[str, ...]) -> Any:
    """The typed part of a group, by its ``kind`` or, for one of the user's own, its ``_target_``."""
    if not isinstance(values, Mapping):
        raise BadInput(f"{group} must be a group of keys with a kind, got {values!r}")
    if values.get("_target_") is not None:
        schema = _target_schema(group, str(values["_target_"]), allowed)
    else:
        kind = str(values.get("kind"))
        if kind not in COMPONENTS[group]:
            kinds = ", ".join(COMPONENTS[group])
            raise BadInput(
                f"{group}.kind must be one of {kinds}, got {kind!r}{nearest(kind, COMPONENTS[group])}"
            )
        schema = COMPONENTS[group][kind]
    return build(schema, values, group, f"{group}={schema.kind}")


def _target_schema(group: str, target: str, allowed: tuple[str, ...]) -> Any:
    """The ``Config`` class of a part named by its import path; only trusted prefixes are imported."""
    where = f"{group}._target_"
    if group == "schedule":
        raise BadInput(f"{where}: schedules are built in ({', '.join(COMPONENTS[group])}), got {target!r}")
    prefixes = TRUSTED_TARGETS + allowed
    if not any(target == p or target.startswith(p if p.endswith(".") else p + ".") for p in prefixes):
        raise BadInput(
            f"{where} must start with one of {', '.join(prefixes)}, got {target!r}; to trust your own code add"
            f" allow_targets=[{target.split('.', maxsplit=1)[0]}]"
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"{where} must name an importable class, got {target!r}: {error}") from error
    schema: Any = getattr(found, "Config", None)
    wanted = BASE_CLASSES[group]
    if not (inspect.isclass(schema) and issubclass(schema, wanted)):
        base = wanted.__name__
        raise BadInput(
            f"{where}: {target} needs a nested class Config that extends memcap.config.schema.{base}"
        )
    _check_custom(schema, group, f"{where}: {target}.Config")
    return schema


def _check_custom(schema: Any, group: str, named: str) -> None:
    """A part of the user's own must be told apart from built-in ones, and each of its fields must be hashed or not."""
    if not schema.kind:
        raise BadInput(f"{named} needs a kind, a short name that stays when the code moves")
    if schema.kind in COMPONENTS[group]:
        raise BadInput(f"{named} needs a kind of its own, got {schema.kind!r}, which is built in")
    for field, _ in schema_fields(schema):
        if "identity" not in field.metadata:
            raise BadInput(
                f"{named}: declare {field.name} with counts() or ignored() of memcap.config.fields"
            )
    if missing := ", ".join(sorted(getattr(schema, "__abstractmethods__", ()))):
        raise BadInput(f"{named} needs {missing}, as {schema.__mro__[1].__name__} says")


def _plain(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return list(value) if isinstance(value, tuple) else value
    kind = getattr(value, "kind", "")
    plain: dict[str, Any] = {"kind": kind} if kind else {}
    for field, _ in schema_fields(type(value)):
        inner = getattr(value, field.name)
        if field.name != "_target_" or inner is not None:
            plain[field.name] = _plain(inner)
    return plain
