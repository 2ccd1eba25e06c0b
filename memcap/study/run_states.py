"""What has become of each run of a study, from the index and the names of files: 10,000 runs in a second."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from memcap.records.folder_lock import seems_held
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import DONE

TAIL_BYTES: Final = 16384  # a row of the history is 1 to 3 kB


@dataclasses.dataclass(frozen=True)
class RunState:
    """``state``: finished, diverged, failed, started or absent; ``steps`` of a run that has ended.

    ``started_at``: when the attempt that has not ended was begun, in seconds since 1970.
    """

    run_id: str
    state: str
    steps: int = 0
    started_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in DONE


def run_states(
    outputs: Path, run_ids: Iterable[str], index: Mapping[str, Mapping[str, Any]]
) -> dict[str, RunState]:
    """The state of each run, in order.

    A row of the study's index is believed where the run's result is still there and whole; of the others the folder is
    read.
    """
    return {run_id: _state(outputs, run_id, index.get(run_id)) for run_id in run_ids}


def held(outputs: Path, run_id: str) -> bool:
    """Whether a living process has the run."""
    return seems_held(RunFolder(outputs, run_id).path, outputs)


def last_step(outputs: Path, run_id: str) -> int:
    """The step of the latest measurement of an attempt that has not ended; 0 before the first."""
    try:
        with open(RunFolder(outputs, run_id).path / "history.jsonl", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is torn, or empty
        return int(json.loads(lines[-1])["train/step"]) if lines else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _ends_as_json(path: str) -> bool:
    """Whether a file is there and was not cut: its last byte but for a newline is a brace."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(-2, os.SEEK_END)
            return file.read(2).rstrip().endswith(b"}")
    except OSError:  # not there, or empty
        return False


def _state(outputs: Path, run_id: str, row: Mapping[str, Any] | None) -> RunState:
    folder = RunFolder(outputs, run_id)
    if row is not None and row.get("status") in DONE and _ends_as_json(f"{folder.path}/result.json"):
        return RunState(run_id, row["status"], int(row.get("steps") or 0))
    try:
        with os.scandir(folder.path) as entries:
            files = {entry.name: entry for entry in entries}
    except OSError:
        return RunState(run_id, "absent")
    if ("result.json" in files or "attempt" in files) and (result := folder.read_result()) is not None:
        return RunState(run_id, result["status"], int(result["steps"]))
    if "failure.json" in files:
        return RunState(run_id, "failed")
    if "attempt.json" not in files:
        return RunState(run_id, "absent")
    try:
        return RunState(run_id, "started", started_at=files["attempt.json"].stat().st_mtime)
    except OSError:  # it has ended just now
        return RunState(run_id, folder.state())
