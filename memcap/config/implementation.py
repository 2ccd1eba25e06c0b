"""From a component's configuration to the class that does its work, imported at the last moment."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from pathlib import Path
from typing import Any

from memcap.config.component import Component
from memcap.config.run_config import RunConfig
from memcap.config.schema import COMPONENTS


def implementation(component: Component) -> Any:
    """The class named by ``_target_`` (the user's own part) or by the schema's ``implementation``."""
    path = component._target_ or component.implementation
    module, _, name = path.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


def own_sources(config: RunConfig) -> dict[str, str]:
    """For each part of the user's own, sixteen hex digits of the SHA-256 of the file that holds its class.

    An id names such a part by kind and version; these digits tell that the code has changed under an old version.
    """
    parts = [getattr(config, group) for group in COMPONENTS]
    return {part._target_: _file_digest(implementation(part)) for part in parts if part._target_ is not None}


@functools.cache
def _file_digest(implementing: Any) -> str:
    try:
        content = Path(inspect.getfile(implementing)).read_bytes()
    except (OSError, TypeError):  # typed into a notebook, or compiled
        return ""
    return hashlib.sha256(content).hexdigest()[:16]
