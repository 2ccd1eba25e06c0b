"""What every exchangeable part of a configuration is."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from memcap.config.fields import ignored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Component:
    """What every exchangeable part has; a part of one's own names its class in ``_target_``."""

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1
    implementation: ClassVar[str] = ""
    _target_: str | None = ignored(default=None)
