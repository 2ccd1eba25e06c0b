"""The command line that trains a recorded run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from memcap.config.override_text import override_text
from memcap.errors import BadInput
from memcap.study.options import Options, same, shipped_options
from memcap.study.recorded_config import absent_values, recorded_config

# How a sweep behaves, and where a run lies, is no property of the run.
_NOT_OF_A_RUN = ("study", "force", "fail_fast", "max_attempts", "paths", "checkpoint", "compare")


def rerun_line(config: Mapping[str, Any], outputs: str = "outputs") -> str:
    """``python -m memcap.train ... force=true``, with the same run id, measures, hardware and study.

    It names the options and values in which the run differs from the defaults of conf/, however it was composed:
    by a preset, a table or a sweep.
    """
    return shlex.join(["python", "-m", "memcap.train", *rerun_overrides(config, outputs), "force=true"])


def rerun_overrides(config: Mapping[str, Any], outputs: str = "outputs") -> list[str]:
    """The overrides of that line, without ``force=true``."""
    options = shipped_options()
    derived = _derived_keys(config)
    texts: list[str] = []
    for group in options.defaults:
        if isinstance(config.get(group), Mapping):
            texts += _of_group(group, config[group], options, derived)
    for key, stated in options.top.items():
        if key in config and key not in _NOT_OF_A_RUN:
            texts += _changes(key, stated, config[key])
    if config.get("study") is not None:
        texts.append(override_text("study", config["study"]))
    if not same(options.top["paths"]["outputs"], outputs):
        texts.append(override_text("paths.outputs", outputs))
    return texts


def _of_group(
    group: str, recorded: Mapping[str, Any], options: Options, derived: frozenset[str]
) -> Iterator[str]:
    option, stated = options.nearest(group, recorded)
    if option != options.defaults[group]:
        yield f"{group}={option}"
    of_ones_own = recorded.get("_target_") is not None
    meant = recorded if of_ones_own else {**absent_values(group, recorded), **recorded}
    for name in stated:
        if of_ones_own and name not in meant:
            yield f"~{group}.{name}"
    for name, value in meant.items():
        key = f"{group}.{name}"
        if name == "kind" or (key in derived and stated.get(name, 0) is None):
            continue  # the kind is the option's; a derived value follows from the rest
        if name not in stated:
            yield "+" + override_text(key, value)
        elif not same(stated[name], value):
            yield override_text(key, value)


def _changes(key: str, stated: Any, recorded: Any) -> Iterator[str]:
    if isinstance(recorded, Mapping):
        for name, value in recorded.items():
            yield from _changes(f"{key}.{name}", stated.get(name), value)
    elif not same(stated, recorded):
        yield override_text(key, recorded)


def _derived_keys(config: Mapping[str, Any]) -> frozenset[str]:
    """Keys of the model whose recorded value is what null stands for."""
    if _is_own(config):
        return frozenset()  # its class need not be importable here, and would bring torch
    try:
        typed = recorded_config(config)
    except BadInput:
        return frozenset()
    return frozenset(f"model.{name}" for name in typed.model.derived_keys(typed.data))


def _is_own(config: Mapping[str, Any]) -> bool:
    return any(isinstance(part, Mapping) and part.get("_target_") is not None for part in config.values())
