"""Configurations for tests: composed by Hydra from conf/ as the entry point composes them, walked, and changed."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from memcap.config.fields import schema_fields
from memcap.config.run_config import RunConfig

CONF = Path(__file__).parents[1] / "conf"
# Composition alone needs none of memcap's own plugins.
STOCK = ("hydra/launcher=basic", "hydra/sweeper=basic", "hydra/help=default")


class Leaf(NamedTuple):
    """One value of a configuration, with its dotted key and what the schema says of it."""

    key: str
    value: Any
    field: dataclasses.Field[Any]
    hint: Any


@functools.cache
def _composed_groups(overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=[*STOCK, *overrides])


@functools.cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    """Groups are chosen by ``hydra.compose``, values are set on a copy by what Hydra itself calls next."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chooses = [(CONF / override.key_or_group).is_dir() for override in parsed]
    groups = tuple(text for text, is_group in zip(overrides, chooses, strict=True) if is_group)
    config = copy.deepcopy(_composed_groups(groups))
    own = [override for override, is_group in zip(parsed, chooses, strict=True) if not is_group]
    ConfigLoaderImpl._apply_overrides_to_config(own, config)
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def composed_values(*overrides: str) -> dict[str, Any]:
    """Plain nested values, the caller's own to change; a choice of groups takes Hydra 60 ms once."""
    return copy.deepcopy(_composed(overrides))


def composed_config(*overrides: str) -> RunConfig:
    """A checked configuration: ``composed_config("model.width=8", "seed=3")``."""
    return RunConfig.from_dict(_composed(overrides))


def leaves(config: RunConfig, identity: str) -> Iterator[Leaf]:
    """Every value that ``counts`` in the identity, or every one that is ``ignored``."""
    for field, hint in schema_fields(RunConfig):
        value, of_group = getattr(config, field.name), field.metadata["identity"]
        if not dataclasses.is_dataclass(value):
            if of_group == identity:
                yield Leaf(field.name, value, field, hint)
            continue
        for inner, inner_hint in schema_fields(type(value)):
            of_inner = "ignored" if of_group == "ignored" else inner.metadata["identity"]
            if of_inner == identity and inner.name != "_target_":
                yield Leaf(f"{field.name}.{inner.name}", getattr(value, inner.name), inner, inner_hint)


def changed(config: RunConfig, key: str, value: Any) -> RunConfig:
    """The same with another value, checked again as a whole."""
    values = config.to_dict()
    group, _, name = key.rpartition(".")
    (values[group] if group else values)[name] = value
    return RunConfig.from_dict(values)
