"""The typed configuration of a recorded run, also of one that is older than some of today's keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from memcap.config.fields import REQUIRED, schema_fields
from memcap.config.run_config import PARTS, RunConfig
from memcap.config.schema import COMPONENTS
from memcap.study.options import Options, shipped_options


def recorded_config(values: Mapping[str, Any]) -> RunConfig:
    """The checked configuration of a record; BadInput where today's code cannot read it, for one of the user's own
    parts if it cannot be imported."""
    return RunConfig.from_dict(completed(values, shipped_options()))


def completed(values: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """The values with those keys filled in that the schema did not have when they were written.

    Such a key gets what the older code meant, its ``absent_value``; one that changes no numbers gets the value of
    conf/, since there is nothing to keep.
    """
    full: dict[str, Any] = {**copy.deepcopy(dict(options.top)), **values}
    for group in (*COMPONENTS, *PARTS):
        recorded = values.get(group, {})
        if not isinstance(recorded, Mapping) or recorded.get("_target_") is not None:
            continue
        stated = (
            options.nearest(group, recorded)[1] if group in options.groups else options.top.get(group, {})
        )
        full[group] = {**stated, **absent_values(group, recorded), **recorded}
    return full


def absent_values(group: str, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What keys mean that a record lacks, because the schema had them later."""
    schema = PARTS.get(group) or COMPONENTS[group].get(str(recorded.get("kind")))
    if schema is None:
        return {}
    absent = {field.name: field.metadata.get("absent_value", REQUIRED) for field, _ in schema_fields(schema)}
    return {name: v for name, v in absent.items() if name not in recorded and v is not REQUIRED}
