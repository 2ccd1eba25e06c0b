"""The axes of a sweep: lists on the command line or in a preset, lists in step (zip=), rows of a table (cells=)."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override

# One for the whole sweep, because cells that differ only here would be one and the same run.
NOT_SWEPT = (
    "study",
    "force",
    "fail_fast",
    "max_attempts",
    "allow_targets",
    "tracking",
    "launcher",
    "search",
    "leaderboard",
    "paths",
    "records",
    "checkpoint",
    "compare",
    "size",
    "sizes",
    "measure",
    "hardware",
    "hydra",
)
SWEPT_ALL_THE_SAME = ("hardware.dtype",)  # counts in the id


class Axis(NamedTuple):
    """Steps that a sweep takes one after the other, each a few overrides; a fixed override is an axis of one step."""

    keys: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    swept: bool


def read_axes(
    arguments: Sequence[str],
    params: Mapping[str, Any],
    config_loader: ConfigLoader,
    *,
    zip_keys: str,
    table: str,
) -> list[Axis]:
    """The axes in the order of the command line, after those of a preset (``hydra.sweeper.params``).

    The command line wins over the preset's axis of the same key, and keeps its place, as in Hydra. A preset's axis
    that is null is none: so one preset takes away what another brought. Raises BadInput for what cannot be swept.
    """
    from memcap.errors import BadInput

    preset = [f"{key}={_as_text(value)}" for key, value in params.items() if value is not None]
    axes: dict[str, Axis] = {}
    given: dict[str, list[str]] = {}
    if table and not any(_name(text) == "cells" for text in arguments):
        axes["cells"] = _read_table(table)
    for place, (text, override) in enumerate(_parse([*preset, *arguments], config_loader)):
        name = _name(text)
        if name == "cells" and table:
            axes["cells"] = _read_table(table)
        elif name not in ("zip", "cells"):
            axis = _axis(override)
            before = axes.get(axis.keys[0])
            if before is not None and before.swept and before.keys[0] in given:
                raise BadInput(
                    f"{text}: {before.keys[0]} is swept already by {'; '.join(given[before.keys[0]])}"
                )
            axes[axis.keys[0]] = axis
            if place >= len(preset):
                given.setdefault(axis.keys[0], []).append(text)
    return _in_step(_without_columns(axes, [_name(text) for text in arguments], table), zip_keys)


def _parse(texts: Iterable[str], config_loader: ConfigLoader) -> Iterable[tuple[str, Override]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from memcap.command_line import explain, quote_arguments

    parser = OverridesParser.create(
        config_loader=config_loader
    )  # the loader knows the options that glob() finds
    for text in quote_arguments(list(texts)):
        try:
            yield text, parser.parse_overrides([text])[0]
        except HydraException as error:
            raise explain(error) or error from None


def _name(text: str) -> str:
    return text.partition("=")[0].lstrip("+")


def _as_text(value: Any) -> str:
    """A value of a preset as on the command line: text stands for itself, a list is a sweep over its items."""
    from omegaconf import ListConfig

    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | ListConfig):
        return ",".join(_as_text(item) for item in value)
    return Override._get_value_element_as_str(value)


def _axis(override: Override) -> Axis:
    from memcap.errors import BadInput

    key = override.get_key_element()
    if not override.is_sweep_override():
        text = key if override.value_type is None else f"{key}={override.get_value_element_as_str()}"
        return Axis((key,), ((text,),), swept=False)
    _check_sweepable(override.key_or_group, override.input_line or key)
    if not override.is_discrete_sweep():
        raise BadInput(
            f"{override.input_line}: an interval is for sweepers that search, such as hydra/sweeper=optuna; write"
            " a list of values or range(START,STOP,STEP)"
        )
    try:
        steps = tuple((f"{key}={value}",) for value in override.sweep_string_iterator())
    except (ValueError, ArithmeticError) as error:
        raise BadInput(f"{override.input_line}: {error}") from None
    if not steps:
        raise BadInput(f"{override.input_line} is a sweep over no values")
    return Axis((key,), steps, swept=True)


def _check_sweepable(key: str, text: str) -> None:
    from memcap.errors import BadInput

    for name in () if key in SWEPT_ALL_THE_SAME else NOT_SWEPT:
        if key == name or key.startswith((f"{name}.", f"{name}/")):
            raise BadInput(f"{text}: {key} cannot be swept, it is the same for the whole sweep")


def _without_columns(axes: dict[str, Axis], given: Sequence[str], table: str) -> list[Axis]:
    """Drops a preset's axis over a key that is a column; the command line may not set a column's key as well."""
    from memcap.errors import BadInput

    columns = axes["cells"].keys if table else ()
    for column in columns:
        if column in given:
            raise BadInput(
                f"{column} is set on the command line and is a column of {table}; drop one of them"
            )
    return [axis for name, axis in axes.items() if name == "cells" or name not in columns]


def _in_step(axes: list[Axis], zip_keys: str) -> list[Axis]:
    """Joins axes that advance together; the joined axis stands where its first one stood."""
    from memcap.errors import BadInput, nearest

    by_key = {axis.keys[0].lstrip("+"): axis for axis in axes if axis.swept and len(axis.keys) == 1}
    seen: set[str] = set()
    for group in filter(None, (part.strip() for part in zip_keys.split(";"))):
        keys = [key.strip() for key in group.strip("[]").split(",")]
        for key in keys:
            if key not in by_key:
                swept = ", ".join(by_key) or "nothing"
                raise BadInput(f"zip={zip_keys}: {key} is not swept{nearest(key, by_key)}; swept: {swept}")
            if key in seen:
                raise BadInput(f"zip={zip_keys}: {key} stands there twice")
            seen.add(key)
        members = [by_key[key] for key in keys]
        if len({len(axis.steps) for axis in members}) > 1:
            lengths = ", ".join(f"{key} has {len(by_key[key].steps)} values" for key in keys)
            raise BadInput(f"zip={zip_keys}: lists in step need equal lengths, but {lengths}")
        joined = Axis(
            keys=tuple(key for axis in members for key in axis.keys),
            steps=tuple(sum(step, ()) for step in zip(*(axis.steps for axis in members), strict=True)),
            swept=True,
        )
        first = min(axes.index(axis) for axis in members)
        axes = [
            joined if i == first else axis for i, axis in enumerate(axes) if i == first or axis not in members
        ]
    return axes


def _read_table(path: str) -> Axis:
    """A csv file as an axis: the header has keys, a row is a step, an empty field leaves its key alone."""
    from memcap.errors import BadInput

    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"cells={path}: cannot be read as csv: {reason}") from None
    if len(rows) < 2:
        raise BadInput(f"cells={path}: expected a line of keys and a line per cell, got {len(rows)} lines")
    (_, header), *body = rows
    if len(header) == 1 and ";" in header[0]:
        raise BadInput(f'cells={path}: fields are separated by commas, got "{header[0]}"')
    for column in header:
        if not column or header.count(column) > 1:
            raise BadInput(f'cells={path}: every column needs a key of its own, got "{",".join(header)}"')
        _check_sweepable(column.lstrip("+"), f"cells={path}")
    return Axis(tuple(header), tuple(_row(path, line, header, row) for line, row in body), swept=True)


def _row(path: str, line: int, header: Sequence[str], row: Sequence[str]) -> tuple[str, ...]:
    from memcap.command_line import quote_arguments
    from memcap.errors import BadInput

    if len(row) != len(header):
        raise BadInput(f"cells={path}, line {line}: expected {len(header)} fields, got {len(row)}")
    texts = quote_arguments([f"{key}={field}" for key, field in zip(header, row, strict=True) if field])
    for override in _parsed(tuple(texts), f"cells={path}, line {line}: "):
        if override.is_sweep_override():
            raise BadInput(
                f"cells={path}, line {line}: {override.input_line} is several values, a cell has one; write a list"
                " as [a,b]"
            )
    return tuple(texts)


def _parsed(texts: tuple[str, ...], where: str) -> list[Override]:
    """The overrides of a row, each parsed once for the whole table: ANTLR is slow and values repeat."""
    from memcap.errors import BadInput

    try:
        return [_parse_one(text) for text in texts]
    except BadInput as error:
        raise BadInput(f"{where}{error}") from None


@functools.lru_cache(maxsize=65536)
def _parse_one(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from memcap.command_line import explain

    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        raise explain(error) or error from None
