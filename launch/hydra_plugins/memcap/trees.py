"""Trees of configuration values: plain ones, and the OmegaConf nodes they come from."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from omegaconf import AnyNode, DictConfig, ListConfig, open_dict, read_write


def set_leaf(values: dict[str, Any], key: str, value: Any) -> bool:
    """Sets an existing leaf; False where there is none, so that Hydra says what it thinks of the override."""
    *path, name = key.split(".")
    node: Any = values
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or isinstance(node.get(name, {}), dict):
        return False
    node[name] = copied(value)  # a list that is parsed once must not be shared between cells
    return True


def copied(value: Any) -> Any:
    """Like copy.deepcopy for what YAML holds, at a tenth of its time."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    return [copied(inner) for inner in value] if isinstance(value, list) else value


def keyed_leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, with its dotted key."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from keyed_leaves(inner, f"{key}.{name}" if key else str(name))


def texts_in(leaf: Any) -> Iterator[str]:
    """Every text in a leaf, which may be a list."""
    if isinstance(leaf, list | dict):
        for inner in leaf.values() if isinstance(leaf, dict) else leaf:
            yield from texts_in(inner)
    elif isinstance(leaf, str):
        yield leaf


def overlap(key: str, other: str) -> bool:
    """Whether one key is the other or stands above it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def without_hydra(config: DictConfig) -> DictConfig:
    """A copy as Hydra hands it to a task."""
    app = copy.deepcopy(config)
    with read_write(app), open_dict(app):
        del app["hydra"]
    return app


def is_plain(node: Any) -> bool:
    """Whether nothing in the tree converts or refuses values, as nodes of a ConfigStore schema do."""
    if node._get_flag("readonly"):
        return False
    if isinstance(node, DictConfig | ListConfig):
        if node._metadata.object_type not in (dict, list, None) or node._metadata.ref_type is not Any:
            return False
        if node._is_none() or node._is_missing() or node._is_interpolation():
            return True
        inner: Any = node._content
        return all(map(is_plain, inner.values() if isinstance(inner, dict) else inner))
    return type(node) is AnyNode
