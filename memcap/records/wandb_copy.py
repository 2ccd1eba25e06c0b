"""What the W&B run of a memcap run, or of a study, should hold: made from the record, not from the client's files.

The rows are those of ``history.jsonl``, each once, however many attempts and files of the client there were. Only the
one W&B run of a study (``tracking.per=study``) has its rows nowhere else than in the client's file.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from memcap.records import atomic
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.records.wandb_charts import charts
from memcap.records.wandb_file import read_wandb_file
from memcap.records.wandb_ids import FILE, shown_name
from memcap.records.wandb_probe import RunThere
from memcap.records.wandb_study import AXIS

TRAIN_AXIS: Final = "train/step"
_TOLERANCE: Final = 1e-9  # relative, of a number that went through JSON


class Differs(Exception):
    """The server's rows are not the first ones of these: rows there twice, or of something else."""


@dataclasses.dataclass(frozen=True)
class WandbCopy:
    """A W&B run as it should be. ``run_id`` is that of the memcap run, or the name of the study.

    ``settings``: project, entity, group, job_type, name, notes, tags. ``rows`` as the client takes them, and
    ``chart_row`` after them, which W&B may lack where the end of the run is there. ``status`` is ``finished``,
    ``diverged``, ``failed``, or ``unfinished`` where more may come.
    """

    run_id: str
    wandb_id: str
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    status: str
    exit_code: int
    axis: str = TRAIN_AXIS
    chart_row: Mapping[str, Any] | None = None
    files: tuple[Path, ...] = ()

    def lines(self) -> list[Mapping[str, Any]]:
        """All rows, that of the charts last."""
        return [*self.rows, *([self.chart_row] if self.chart_row is not None else [])]

    def missing(self, there: RunThere) -> list[Mapping[str, Any]]:
        """The rows that the server lacks, whose number of rows is taken to be the number of those that it has.

        Raises ``Differs`` where its last row is not the one of that number.
        """
        lines, number = self.lines(), there.num_rows
        # Its arrays may not have been kept, or not at that time: charts that only one side has are no difference.
        extra = self.chart_row is None and any(key.startswith("charts/") for key in there.last_row)
        if number > len(lines) + extra:
            raise Differs(f"the server has {number} rows, the record {len(lines)}")
        if number and not _same(lines[min(number, len(lines)) - 1], there.last_row):
            raise Differs(f"row {number} of the server is not row {number} of the record")
        return lines[number:]

    def has_end(self, there: RunThere) -> bool:
        """Whether the server knows how the run has ended, so far as it has."""
        if self.status == "unfinished":
            return True
        told = all(there.summary.get(key) == value for key, value in self._end().items())
        return told and there.state in (None, "finished" if self.exit_code == 0 else "failed")

    def is_whole(self, there: RunThere) -> bool:
        """Whether the server has it all; raises ``Differs``."""
        missing = self.missing(there)
        return self.has_end(there) and (not missing or (there.num_rows >= len(self.rows)))

    def _end(self) -> dict[str, Any]:
        keys = ("status",) if self.axis == TRAIN_AXIS else ("finished", "failed", "num_cells")
        return {key: self.summary[key] for key in keys if key in self.summary}


def copy_of_run(folder: RunFolder, wandb_id: str, study: str, names: Mapping[str, str]) -> WandbCopy:
    """From the run folder, with the settings that its training had; ``names``: the overrides by run id.

    Raises ``ValueError`` for a history that cannot be read, ``OSError``.
    """
    result, failure = folder.read_result(), folder.read_failure()
    config = (result or failure or {}).get("config") or folder.read_config()
    tracking = config.get("tracking", {})
    rows = [_with_nan(row) for row in folder.read_history()]
    if result is not None:
        status, exit_code = str(result["status"]), 0
        summary = {**result["summary"], "status": status, "stop_reason": result["stop_reason"]}
    elif failure is not None:
        status, exit_code, summary = "failed", 1, {"status": "failed"}
    else:
        status, exit_code, summary = "unfinished", 1, {}
    settings = {
        "project": tracking.get("project"), "entity": tracking.get("entity"), "job_type": tracking.get("job_type"),
        "group": tracking.get("group") or study, "notes": tracking.get("notes"),
        "tags": tuple(tracking.get("tags") or ()),
        "name": shown_name(names.get(folder.run_id) or folder.run_id, folder.run_id, wandb_id),
    }  # fmt: skip
    return WandbCopy(
        folder.run_id, wandb_id, settings, config, rows, _with_nan(summary), status, exit_code,
        chart_row=_chart_row(folder, tracking.get("charts", "none"), rows) if result is not None else None,
    )  # fmt: skip


def copy_of_study_run(study: StudyFolder, file: Path) -> WandbCopy | None:
    """From the client's file of one command with ``tracking.per=study``; None for a file without a run."""
    found = read_wandb_file(file)
    if found.run_id is None:
        return None
    rows = [{key: _again(value, file.parent / "files") for key, value in row.items()} for row in found.rows]
    summary = {key: value for key, value in found.summary.items() if not isinstance(value, Mapping)}
    ended = found.exit_code is not None
    return WandbCopy(
        study.name, found.run_id, found.settings, found.config, rows, summary,
        status="unfinished" if not ended else "finished" if found.exit_code == 0 else "failed",
        exit_code=found.exit_code if found.exit_code is not None else 1, axis=AXIS, files=(file,),
    )  # fmt: skip


def wandb_id_of(folder: RunFolder, result: Mapping[str, Any] | None) -> str | None:
    """The id under which the attempt that counts is in W&B; None where it has none of its own."""
    note = atomic.read_json(folder.path / FILE)
    if not isinstance(note, dict) or "id" not in note:
        return None
    record = ((result or {}).get("provenance") or {}).get("wandb") or {}
    return str(record["id"]) if record.get("id") in note.get("ids", []) else str(note["id"])


def _chart_row(folder: RunFolder, kind: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if kind == "none":
        return None
    arrays = {name: folder.read_arrays(name) for name in ("samples", "weights") if folder.has_arrays(name)}
    made = charts(kind, arrays)
    last = rows[-1] if rows else {}
    return {**{key: last[key] for key in (TRAIN_AXIS,) if key in last}, **made} if made else None


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it was measured: JSON has null for what was not finite."""
    return {key: math.nan if value is None else value for key, value in row.items()}


def _again(value: Any, files: Path) -> Any:
    """A value that is to be logged again: a table from its file, other values as they are."""
    if not (isinstance(value, dict) and value.get("_type") == "table-file"):
        return value
    import wandb

    content = json.loads((files / value["path"]).read_text(encoding="utf-8"))
    return wandb.Table(columns=content["columns"], data=content["data"], allow_mixed_types=True)


def _same(row: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether the finite numbers that both have are the same, and the axis is among them if it is in the row."""
    keys = _numbers(row).keys() & _numbers(there).keys()
    axes = {key for key in (TRAIN_AXIS, AXIS) if key in row}
    return axes <= keys and all(math.isclose(row[k], there[k], rel_tol=_TOLERANCE) for k in keys)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: value for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def names_of(cells: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The overrides of a study's cells on one line, by run id."""
    return {cell["run_id"]: " ".join(cell["overrides"]) for cell in cells}
