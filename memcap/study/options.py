"""The files of conf/ as they stand there: what each option of a group holds, without composing anything."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NOT_OF_A_RUN = ("defaults", "hydra", "zip", "cells", "size", "sizes")


@dataclasses.dataclass(frozen=True)
class Options:
    """``defaults``: the option of each group in train.yaml, in its order; ``groups[group][option]``: the values of
    that file; ``top``: the keys of train.yaml itself, nested as they stand there."""

    defaults: Mapping[str, str]
    groups: Mapping[str, Mapping[str, Mapping[str, Any]]]
    top: Mapping[str, Any]

    def nearest(self, group: str, recorded: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """The option from which the fewest overrides lead to the recorded values, the default one among equals.

        Of a group with kinds, an option of the same kind; for a part of one's own, any.
        """
        options = self.groups[group]
        same_kind = {name: v for name, v in options.items() if v.get("kind") == recorded.get("kind")}

        def cost(name: str) -> tuple[int, bool, str]:
            values = options[name]
            known = sum(key in recorded and same(values[key], recorded[key]) for key in values)
            union = len(values.keys() | recorded.keys())
            return union - known, name != self.defaults.get(group), name

        name = min(same_kind or options, key=cost)
        return name, options[name]


@functools.cache
def shipped_options() -> Options:
    """Those of the installed package, or of the checkout beside it; 5 ms, once."""
    return read_options(conf_folder())


def conf_folder() -> Path:
    """The folder of the YAML files: inside the installed package, or in the checkout beside it."""
    spec = importlib.util.find_spec("memcap.conf")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).resolve().parents[2] / "conf"


def read_options(folder: Path) -> Options:
    """The options of all groups that train.yaml lists, presets aside."""
    top = _read(folder / "train.yaml")
    entries = [entry for entry in top["defaults"] if isinstance(entry, dict)]
    defaults = {str(g): str(option) for entry in entries for g, option in entry.items() if option is not None}
    groups = {
        group: {path.stem: _read(path) for path in sorted((folder / group).glob("*.yaml"))}
        for group in defaults
    }
    kept = {key: value for key, value in top.items() if key not in _NOT_OF_A_RUN}
    return Options(defaults, groups, kept)


def same(stated: Any, recorded: Any) -> bool:
    """Whether a value of a YAML file and a typed one are the same: 1 and 1.0 are, 1 and true are not."""
    if isinstance(stated, bool) or isinstance(recorded, bool):
        return stated is recorded
    if isinstance(stated, str) and isinstance(recorded, int | float):
        try:  # YAML 1.1 reads 1e-8 as text, OmegaConf as a number
            return float(stated) == recorded
        except ValueError:
            return False
    if isinstance(stated, tuple | list) and isinstance(recorded, tuple | list):
        return list(stated) == list(recorded)
    return bool(stated == recorded)


def _read(path: Path) -> dict[str, Any]:
    values = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    return values if isinstance(values, dict) else {}
