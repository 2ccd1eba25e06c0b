"""Options of the launchers that submit, under ``launcher.*`` on the command line; values stand in conf/launcher."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from memcap.config.fields import build, ignored
from memcap.errors import BadInput

MAPPINGS = ("environment", "extra")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainOptions:
    """Options of one value, or a list."""

    target_minutes: float = ignored(above=0)
    wait: bool = ignored()
    dry_run: bool = ignored()
    retries: int = ignored(at_least=0)
    workers: int | None = ignored(at_least=1)
    gpus: int | None = ignored(at_least=1)
    cpus: int | None = ignored(at_least=1)
    memory_gib: float | None = ignored(above=0)
    time_minutes: int | None = ignored(at_least=1)
    signal_s: int = ignored(at_least=1)
    at_once: int = ignored(at_least=1)
    max_array_size: int | None = ignored(at_least=1)
    partition: str | None = ignored()
    account: str | None = ignored()
    qos: str | None = ignored()
    constraint: str | None = ignored()
    setup: tuple[str, ...] = ignored()
    python: str | None = ignored()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LauncherOptions(PlainOptions):
    """What a task may take and how it is asked for; what does not concern the chosen launcher is not read."""

    environment: Mapping[str, str]
    extra: Mapping[str, str]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LauncherOptions:
        """Checked options from plain values; raises BadInput with one line."""
        plain = {key: value for key, value in values.items() if key not in MAPPINGS}
        mappings: dict[str, Any] = {key: _mapping(values.get(key), f"launcher.{key}") for key in MAPPINGS}
        return cls(**vars(build(PlainOptions, plain, "launcher")), **mappings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``from_dict`` reads back."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _mapping(value: Any, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(v, str | int | float) for v in value.values()):
        raise BadInput(f"{where} must be keys with values, as in {where}='{{KEY: value}}', got {value!r}")
    return {str(key): _text(item) for key, item in value.items()}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
