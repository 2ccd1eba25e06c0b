"""The folder of one run, ``outputs/runs/<first 2 hex>/<run_id>/``: the truth about that run.

=================  =====================================================================================
``config.yaml``    the configuration of the latest attempt
``attempt.json``   how often the run was started, and its checkpoint, while it is not finished
``history.jsonl``  one row per measurement
``<name>.npz``     arrays: ``samples`` (per-sample values), ``weights``, and what a measure wants kept
``failure.json``   the latest attempt failed, and why
``result.json``    written last, so that its presence means finished or diverged, with everything there
``attempt/``       the same files of a forced attempt on a run that is finished already
=================  =====================================================================================

A forced attempt does not touch the finished record: it works in ``attempt/``. Its ``result.json`` in there
is the moment at which it becomes the record; from then on readers look into ``attempt/``, while its files
are linked over the old ones one by one, ``result.json`` last, and ``attempt/`` goes away. So at every instant,
whatever dies, readers see one attempt whole, never files of two.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from memcap.records import atomic
from memcap.records.run_record import DONE, as_yaml, from_yaml


class RunFolder:
    """Reads and writes the record of one run.

    Any method can raise ``OSError`` (a full disk, say): the caller fails this run and goes on with the others.
    """

    def __init__(self, outputs: Path, run_id: str) -> None:
        self.run_id = run_id
        self.path = Path(outputs) / "runs" / run_id[:2] / run_id
        self.work = self.path
        """Where the attempt that this object started writes; see the module's text."""

    def state(self) -> str:
        """``finished`` or ``diverged`` (a valid result), ``failed``, ``started`` or ``absent``."""
        if (result := self.read_result()) is not None:
            return str(result["status"])
        if self.read_failure() is not None:
            return "failed"
        return "started" if (self.path / "attempt.json").exists() else "absent"

    def read_result(self) -> dict[str, Any] | None:
        """The result, or None where there is none, or a torn one, or one of another run."""
        forced = self._valid_result(self.path / "attempt")
        return forced if forced is not None else self._valid_result(self.path)

    def read_failure(self) -> dict[str, Any] | None:
        """Why the latest attempt failed, or None. A finished run whose forced attempt failed has both."""
        failure = atomic.read_json(self.path / "failure.json")
        return failure if isinstance(failure, dict) else None

    def read_config(self) -> dict[str, Any]:
        """The configuration of the latest attempt; empty where it was not written."""
        try:
            return from_yaml((self._truth() / "config.yaml").read_bytes())
        except OSError:
            return {}

    def read_history(self) -> list[dict[str, Any]]:
        """The rows of all measurements; a last line torn by a kill is left out.

        Raises ``ValueError`` for an unreadable line in the middle, which no kill can cause.
        """
        try:
            lines = (self._truth() / "history.jsonl").read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        rows = []
        for number, line in enumerate(lines[:-1], 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{self.path}/history.jsonl line {number} is not JSON: {error}") from None
        return rows  # what follows the last newline is empty, or torn

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of ``<name>.npz``; raises ``FileNotFoundError`` where they were not kept."""
        # Opened here: NumPy leaves a torn archive open.
        with open(self._truth() / f"{name}.npz", "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)

    def has_arrays(self, name: str) -> bool:
        """Whether ``<name>.npz`` was kept."""
        return (self._truth() / f"{name}.npz").exists()

    def attempts(self) -> int:
        """How often the run was started, kills included."""
        counted = atomic.read_json(self.path / "attempt.json")
        records = (counted, self.read_failure(), self.read_result())
        return max(int(record.get("attempts", 0)) if isinstance(record, dict) else 0 for record in records)

    def failures(self) -> int:
        """How many attempts ended in an error; a kill is none, and does not reset the count."""
        for name in ("failure.json", "attempt.json"):
            record = atomic.read_json(self.path / name)
            if isinstance(record, dict) and "failures" in record:
                return int(record["failures"])
        return 0

    def start(self, config: Mapping[str, Any], note: Mapping[str, Any] | None = None) -> int:
        """Open the folder for a new attempt and return its number, 1 for the first.

        What an unfinished attempt left is discarded; a finished record stays until the new one is whole. The note
        stands in ``attempt.json`` until the attempt has ended.
        """
        if self._valid_result(self.path / "attempt") is not None:
            self._publish()
        finished = self._valid_result(self.path) is not None
        self.work = self.path / "attempt" if finished else self.path
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path / "attempt")
        self.work.mkdir(parents=True, exist_ok=True)
        attempt = self._begin(config, note)
        (self.work / "history.jsonl").write_bytes(b"")
        return attempt

    def unfinished(self) -> dict[str, Any] | None:
        """What ``attempt.json`` says of an attempt that has neither ended nor failed; None where there is none."""
        noted = atomic.read_json(self.path / "attempt.json")
        if not isinstance(noted, dict) or self.read_failure() is not None:
            return None
        # A process that was killed right after it wrote the result has left the note of an attempt that has ended.
        ended = int((self.read_result() or {}).get("attempts", 0))
        return None if ended >= int(noted.get("attempts", 0)) else noted

    def has_rows(self, rows: int) -> bool:
        """Whether the unfinished attempt has written at least so many measurements."""
        try:
            return _end_of_line(self._unfinished_work() / "history.jsonl", rows) is not None
        except OSError:
            return False

    def unfinished_rows(self, rows: int) -> list[dict[str, Any]]:
        """The first measurements of the unfinished attempt, which has so many."""
        with open(self._unfinished_work() / "history.jsonl", "rb") as file:
            return [json.loads(line) for line in itertools.islice(file, rows)]

    def resume(self, config: Mapping[str, Any], rows: int, note: Mapping[str, Any] | None = None) -> int:
        """Open the folder to go on with the unfinished attempt, after so many of its measurements.

        Returns the number of the attempt, which is a new one. What was written after those rows is discarded.
        """
        self.work = self._unfinished_work()
        end = _end_of_line(self.work / "history.jsonl", rows)
        if end is None:
            raise ValueError(f"{self.work}/history.jsonl has fewer than {rows} rows")
        attempt = self._begin(config, note)
        os.truncate(self.work / "history.jsonl", end)
        return attempt

    def _unfinished_work(self) -> Path:
        return self.path if self._valid_result(self.path) is None else self.path / "attempt"

    def _begin(self, config: Mapping[str, Any], note: Mapping[str, Any] | None) -> int:
        """Counts an attempt in ``work`` and removes what an earlier one may have left, but for its history."""
        attempt = self.attempts() + 1
        # Counted before anything else can go wrong. Neither file is synced: after a power cut an attempt
        # that is missing from the count costs one more try, a sync for each of 10,000 runs costs seconds.
        counts = {"attempts": attempt, "failures": self.failures(), **(note or {})}
        atomic.write_json(self.path / "attempt.json", counts, survives="kill")
        (self.path / "failure.json").unlink(missing_ok=True)
        for left in (self.work / "result.json", *self.work.glob("*.npz"), *self.work.glob(".*.tmp")):
            left.unlink(missing_ok=True)
        atomic.write_text(self.work / "config.yaml", as_yaml(config), survives="kill")
        return attempt

    def append(self, row: Mapping[str, Any]) -> None:
        """Add the row of one measurement to the history; non-finite values become null."""
        atomic.append_line(self.work / "history.jsonl", row)

    def finish(
        self, result: Mapping[str, Any], arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None
    ) -> None:
        """Write the arrays, then the result, which declares the run done. ``arrays[name]`` → ``<name>.npz``."""
        self._write_arrays(self.work, arrays or {})
        atomic.sync(self.work / "history.jsonl")
        # Studies that listed the run before a forced attempt still do.
        studies = dict.fromkeys([*(self.read_result() or {}).get("studies", []), *result.get("studies", [])])
        atomic.write_json(self.work / "result.json", {**result, "studies": list(studies)})
        if self.work != self.path:
            self._publish()
        (self.path / "attempt.json").unlink(missing_ok=True)
        (self.path / "failure.json").unlink(missing_ok=True)

    def amend(self, result: Mapping[str, Any], arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Replace a finished record by one that says more: arrays first, then the result.

        Arrays of a file that is there already stand beside the new ones, which win where both have a name. Studies
        that noted themselves in the meantime stay noted.
        """
        folder = self._truth()
        joined = {
            name: {**(self.read_arrays(name) if self.has_arrays(name) else {}), **group}
            for name, group in arrays.items()
        }
        self._write_arrays(folder, joined)
        studies = dict.fromkeys([*(self.read_result() or {}).get("studies", []), *result.get("studies", [])])
        atomic.write_json(folder / "result.json", {**result, "studies": list(studies)})

    def fail(self, failure: Mapping[str, Any]) -> None:
        """Write why this attempt ended without a result; a finished record of before stays as it was."""
        self.path.mkdir(parents=True, exist_ok=True)
        atomic.write_json(self.path / "failure.json", failure)
        if self._truth() == self.path:
            shutil.rmtree(self.path / "attempt", ignore_errors=True)

    def add_study(self, name: str) -> None:
        """Note in a finished run's result that this study lists it as well.

        Two studies that do so in the same instant can lose one of the notes; the studies' own lists of run
        ids are what counts.
        """
        result = self.read_result()
        if result is not None and name not in result.get("studies", []):
            result["studies"] = [*result.get("studies", []), name]
            atomic.write_json(self._truth() / "result.json", result)

    def rename_study(self, old: str, new: str) -> None:
        """Note in a finished run's result that a study which lists it has another name now."""
        result = self.read_result()
        if result is not None and old in (noted := result.get("studies", [])):
            result["studies"] = list(dict.fromkeys(new if name == old else name for name in noted))
            atomic.write_json(self._truth() / "result.json", result)

    def _write_arrays(self, folder: Path, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        for name, group in arrays.items():
            if any(array.dtype.hasobject for array in group.values()):
                raise TypeError(f"{name}.npz of run {self.run_id}: arrays of Python objects cannot be kept")
            with atomic.replacing(folder / f"{name}.npz", survives="folder sync") as file:
                np.savez(file, **group)  # type: ignore[arg-type]

    def _truth(self) -> Path:
        """The folder that holds the files of the record."""
        forced = self.path / "attempt"
        return forced if self._valid_result(forced) is not None else self.path

    def _valid_result(self, folder: Path) -> dict[str, Any] | None:
        result = atomic.read_json(folder / "result.json")
        if not isinstance(result, dict) or result.get("run_id") != self.run_id:
            return None
        return result if result.get("status") in DONE else None

    def _publish(self) -> None:
        """Put the files of a complete forced attempt in place of the old ones; can be repeated after a kill."""
        forced = self.path / "attempt"
        names = [path.name for path in forced.iterdir() if not path.name.startswith(".")]
        for stale in self.path.glob("*.npz"):
            if stale.name not in names:
                stale.unlink()
        for name in sorted(names, key=lambda name: name == "result.json"):
            temporary = self.path / f".{name}.{os.getpid()}.tmp"
            temporary.unlink(missing_ok=True)
            try:
                os.link(forced / name, temporary)
            except OSError:  # a file system without hard links
                shutil.copyfile(forced / name, temporary)
            os.replace(temporary, self.path / name)
        atomic.sync(self.path)
        (forced / "result.json").unlink()
        shutil.rmtree(forced)
        self.work = self.path


def _end_of_line(path: Path, number: int) -> int | None:
    """How many bytes the first so many lines of a file take; None where it has fewer."""
    content, end = path.read_bytes(), 0
    for _ in range(number):
        end = content.find(b"\n", end) + 1
        if end == 0:
            return None
    return end
