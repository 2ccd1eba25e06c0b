"""Cells of a sweep as they were checked, on disk: what is trained later is what was asked for, whatever became of YAML.

A file of lines: the first holds the whole configuration of one cell, each of the others a cell with what differs
from it, so that 10,000 cells take 2 MB and not 25.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records import atomic

_ID_FIRST: Final = b'{"run_id":"'  # as every line begins that this module writes


def write_frozen(path: Path, cells: Sequence[Cell]) -> None:
    """Replaces the file by these cells, in this order."""
    atomic.write_text(path, _text({c.run_id: (list(c.overrides), c.config.to_dict()) for c in cells}))


def read_frozen(path: Path, run_ids: Iterable[str] | None = None) -> list[Cell]:
    """The cells of a file, all or those with these ids, in the file's order; each is checked again.

    Raises ``BadInput`` for a file that is missing or torn, and for a cell whose id is another one now: the code that
    would train it is not the code that it was asked of.
    """
    wanted = None if run_ids is None else set(run_ids)
    cells = []
    for record, values in _records(path, lambda run_id: wanted is None or run_id in wanted):
        cell = Cell.from_values(values, record["overrides"])
        if cell.run_id != record["run_id"]:
            raise BadInput(
                f"{path}: run {record['run_id']} would be {cell.run_id} with this version of memcap; give the sweep's"
                " command again"
            )
        cells.append(cell)
    return cells


def add_frozen(path: Path, cells: Sequence[Cell]) -> None:
    """Adds these cells to a file; of a cell that is there already the newer configuration is kept.

    The file is replaced only where that changes it.
    """
    try:
        before = {record["run_id"]: (record["overrides"], values) for record, values in _records(path)}
    except BadInput:  # none yet, or one that is torn: the cells at hand are what is known
        before = {}
    now = {cell.run_id: (list(cell.overrides), cell.config.to_dict()) for cell in cells}
    if all(before.get(run_id) == known for run_id, known in now.items()):
        return
    atomic.write_text(path, _text(before | now))


def frozen_ids(path: Path) -> list[str]:
    """The run ids of a file, in its order; none where there is no file."""
    return [record["run_id"] for record, _ in _records(path)] if path.exists() else []


def frozen_values(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each cell's line (``run_id``, ``overrides``) and its plain values, unchecked; 10,000 cells take 0.1 s."""
    return _records(path)


def rename_frozen(path: Path, study: str) -> None:
    """Enters another name of the study in all cells of a file; a file that is missing or torn stays so."""
    try:
        first, *rest = (json.loads(line) for line in path.read_bytes().splitlines())
        first["base"]["study"] = study
        for record in rest:
            record["changes"].pop("study", None)
    except (OSError, ValueError, KeyError, TypeError):
        return
    atomic.write_text(path, "".join(atomic.strict_json(line) + "\n" for line in (first, *rest)))


def changes(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What differs, by dotted key; a group whose keys are others is there as a whole."""
    changed: dict[str, Any] = {}
    for name, value in values.items():
        before = base.get(name)
        if value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping) and value.keys() == before.keys():
            changed |= {f"{name}.{key}": value[key] for key in value if value[key] != before[key]}
        else:
            changed[name] = value
    return changed


def changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ by ``changes`` from ``base``, which stays as it is."""
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in changes.items():
        group, dot, name = key.partition(".")
        if dot:
            values[group][name] = value
        else:
            values[group] = value
    return values


def _text(cells: Mapping[str, tuple[list[str], dict[str, Any]]]) -> str:
    """The lines of a file, of overrides and configuration by run id."""
    base = next(iter(cells.values()))[1] if cells else {}
    lines = [atomic.strict_json({"base": base})]
    for run_id, (overrides, values) in cells.items():
        record = {"run_id": run_id, "overrides": overrides, "changes": changes(base, values)}
        lines.append(atomic.strict_json(record))
    return "\n".join(lines) + "\n"


def _records(
    path: Path, wanted: Callable[[str], bool] = lambda run_id: True
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The line of each wanted cell with the values that it stands for.

    Of the others only the id is read: each of 1000 tasks opens the file of 100,000 cells.
    """
    try:
        first, *lines = path.read_bytes().splitlines()
        base = json.loads(first)["base"]
        for line in lines:
            if line.startswith(_ID_FIRST) and not wanted(line[len(_ID_FIRST) :].partition(b'"')[0].decode()):
                continue
            record = json.loads(line)
            if wanted(record["run_id"]):
                yield record, changed(base, record["changes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} cannot be read as the cells of a sweep: {error}; give the sweep's command again"
        ) from None
