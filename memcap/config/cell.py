"""One cell of a sweep: a checked configuration with the overrides that make it this cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from memcap.config.identity import run_id
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput


@dataclasses.dataclass(frozen=True)
class Cell:
    """A run to be: its configuration, its id, and its own overrides ('model.width=8'), as a user would type them."""

    config: RunConfig
    run_id: str
    overrides: tuple[str, ...]

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], overrides: Sequence[str] = (), number: int | None = None
    ) -> Cell:
        """A cell from composed plain values; BadInput names the cell when it is one of several (``number``)."""
        try:
            config = RunConfig.from_dict(values)
        except BadInput as error:
            if number is None:
                raise
            raise BadInput(f'{error} (cell {number}: "{" ".join(overrides)}")') from None
        return cls(config, run_id(config), tuple(overrides))
