"""From a component's configuration to the class that does its work, imported at the last moment."""

from __future__ import annotations

import importlib
from typing import Any

from memcap.config.component import Component


def implementation(component: Component) -> Any:
    """The class named by ``_target_`` (the user's own part) or by the schema's ``implementation``."""
    path = component._target_ or component.implementation
    module, _, name = path.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)
