"""The runs of studies, or of a folder of outputs, as one table: a row per run, from records only."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memcap.compare.optimum_columns import with_optimum
from memcap.compare.study_choices import agreed
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import DONE
from memcap.records.study_folder import StudyFolder

PROVENANCE = ("engine", "memcap", "git_commit", "git_dirty", "own_sources", "device")
# Groups of the configuration that never count in a run's identity: they can be no axis.
NOT_COUNTED = ("tracking", "paths", "measure", "checkpoint", "records", "compare")
NOT_COUNTED_KEYS = ("study", "force", "fail_fast", "max_attempts", "allow_targets")
MOST_NAMED = 3
_SORTABLE = ("integer", "floating", "mixed-integer-float", "string", "boolean")
_PLAIN = frozenset((int, float, str, bool, type(None)))


@dataclasses.dataclass(frozen=True)
class Unusable:
    """Runs that are listed and are no row, by why: ``torn``, ``failed``, ``unfinished``."""

    reason: str
    run_ids: tuple[str, ...]

    def __str__(self) -> str:
        meaning = {
            "torn": "with a result.json that is torn or of another run; the study's command trains them again",
            "failed": "failed; python -m memcap.show RUN_ID says why",
            "unfinished": "without a result yet; the study's command goes on with them",
        }[self.reason]
        named = ", ".join(self.run_ids[:MOST_NAMED]) + (", ..." if len(self.run_ids) > MOST_NAMED else "")
        return f"{len(self.run_ids)} {_runs(self.run_ids)} {meaning}: {named}"


def load_frame(
    studies: str | Sequence[str] = (), outputs: str | Path = "outputs", source: str | None = None
) -> pd.DataFrame:
    """One row for each run with a result of these studies (names, or patterns like ``width*``), or of all ``outputs``.

    Columns: ``run_id``, ``study`` (the first that lists it), ``status``, ``stop_reason``, ``steps``; the
    configuration that counts by dotted key (``model.width``); the summary by metric name (``memory/bits``, bits);
    ``provenance.engine`` and kin; ``optimum/bits`` and kin where ``memcap.oracle`` was asked. A run that several
    studies list is one row. ``attrs``: ``studies``, ``axes`` (swept keys, in their order), ``compare``
    (what the studies say should be drawn), ``outputs``, ``unusable``
    (a list of texts, one for each reason why runs are no row).

    ``source="wandb:ENTITY/PROJECT"`` reads a W&B project in place of records, see ``load_wandb_frame``.

    Raises BadInput for a study that is not there, and where no run at all has a result. 10,000 runs take 3 to 4 s.
    """
    if source is not None:
        from memcap.compare.wandb_source import load_wandb_frame

        return load_wandb_frame(source, studies, outputs)
    root = Path(outputs)
    names = [studies] if isinstance(studies, str) else list(studies)
    folders = [folder for name in names for folder in _matching(root, name)]
    listed: dict[str, str] = {}
    axes: dict[str, None] = {}
    records = [folder.read() for folder in folders]
    for folder, study in zip(folders, records, strict=True):
        axes |= dict.fromkeys(study["axes"])
        for cell in study["cells"]:
            listed.setdefault(cell["run_id"], folder.name)
    if not folders:
        listed = {path.name: "" for path in sorted((root / "runs").glob("[0-9a-f]*/[0-9a-f]*"))}
    unusable: dict[str, list[str]] = {}
    table = in_order(pd.DataFrame(columns_of(_records(root, listed, unusable))), list(axes))
    where = f"study={','.join(names)}" if names else f"folder={root}"
    if table.empty:
        lost = ", ".join(f"{len(ids)} {reason}" for reason, ids in unusable.items()) or "no run is listed"
        raise BadInput(f"{where} has no finished run ({lost}); train some with python -m memcap.train")
    problems = [str(Unusable(reason, tuple(ids))) for reason, ids in unusable.items()]
    table.attrs = {
        "studies": [folder.name for folder in folders],
        "axes": list(axes),
        "compare": agreed(records),
        "outputs": str(root),
        "unusable": problems,
    }
    return with_optimum(table, [folder.path / "oracle" / "gaps.csv" for folder in folders])


def in_order(table: pd.DataFrame, axes: Sequence[str], *, by_chance: bool = False) -> pd.DataFrame:
    """The runs by the values of the swept axes: numbers ascending, others as they appear first; ties stay.

    A study that was widened or searched lists its cells as they were asked for. ``by_chance``: the table's own order
    says nothing, so that texts go by the alphabet.
    """
    columns = {}
    for key in (axis if axis in table else f"{axis}.kind" for axis in axes):
        if key not in table or pd.api.types.infer_dtype(table[key]) not in _SORTABLE:
            continue
        numbers = pd.api.types.is_numeric_dtype(table[key])
        columns[key] = table[key] if numbers or by_chance else pd.factorize(table[key])[0]
    if not columns:
        return table
    values = pd.DataFrame(columns, index=table.index)
    return table.loc[values.sort_values(list(columns), kind="stable").index].reset_index(drop=True)


def _matching(root: Path, name: str) -> Iterator[StudyFolder]:
    if not set("*?[") & set(name):
        yield StudyFolder.existing(root, name)
        return
    known = sorted(path.parent.name for path in (root / "studies").glob("*/study.json"))
    found = fnmatch.filter(known, name)
    if not found:
        raise BadInput(
            f"study={name} matches none of the {len(known)} studies in {root / 'studies'}; names, or * and ?"
        )
    yield from (StudyFolder(root, found_name) for found_name in found)


def _records(
    root: Path, listed: Mapping[str, str], unusable: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """The flat record of each run that can be used; the others are entered in ``unusable``."""
    for run_id, study in listed.items():
        result = _read(root, run_id)
        if result is None:
            unusable.setdefault(_why(RunFolder(root, run_id)), []).append(run_id)
            continue
        try:
            yield flat_record(result, study)
        except (KeyError, TypeError, AttributeError):  # JSON, but not of a run
            unusable.setdefault("torn", []).append(run_id)


def _read(root: Path, run_id: str) -> dict[str, Any] | None:
    """What ``RunFolder.read_result`` says, at half its time where there is no attempt beside the result."""
    folder = f"{root}/runs/{run_id[:2]}/{run_id}"
    if os.path.exists(f"{folder}/attempt/result.json"):
        return RunFolder(root, run_id).read_result()
    try:
        with open(f"{folder}/result.json", "rb") as file:
            result = json.loads(file.read())
    except (OSError, ValueError):
        return None
    valid = isinstance(result, dict) and result.get("run_id") == run_id and result.get("status") in DONE
    return result if valid else None


def _why(folder: RunFolder) -> str:
    if folder.read_failure() is not None:
        return "failed"
    return "torn" if (folder.path / "result.json").exists() else "unfinished"


def flat_record(result: Mapping[str, Any], study: str) -> dict[str, Any]:
    """A run's row: its configuration by dotted key, its summary, its provenance."""
    record = {key: result[key] for key in ("run_id", "status", "stop_reason", "steps")}
    record["study"] = study or str(result["config"].get("study", ""))
    for key, value in result["config"].items():
        if key in NOT_COUNTED or key in NOT_COUNTED_KEYS:
            continue
        if type(value) is dict:  # isinstance of a Mapping takes longer than all the rest
            for name, inner in value.items():
                record[f"{key}.{name}"] = inner if type(inner) in _PLAIN else _plain(inner)
        else:
            record[key] = _plain(value)
    record |= result["summary"]
    provenance = result.get("provenance", {})
    record |= {f"provenance.{key}": _plain(provenance.get(key)) for key in PROVENANCE}
    return record


def columns_of(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The same by column: of 10,000 dictionaries of 170 entries only one is in memory at a time."""
    columns: dict[str, list[Any]] = {}
    for count, record in enumerate(records):
        for key, value in record.items():
            column = columns.get(key)
            if column is None:
                columns[key] = [*[None] * count, value]
            else:
                column.append(value)
        if len(record) < len(columns):
            for column in columns.values():
                if len(column) == count:
                    column.append(None)
    return columns


def _plain(value: Any) -> Any:
    """What a cell of a table can hold and be grouped by."""
    if isinstance(value, dict):
        return atomic.strict_json(value)
    return json.dumps(value) if isinstance(value, list) else value


def _runs(run_ids: Sequence[str]) -> str:
    return "run" if len(run_ids) == 1 else "runs"
