"""One W&B run for a whole study: what is fixed as its configuration, progress as its rows, its cells as a table."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from memcap.config.cell import Cell
from memcap.config.schema import TrackingConfig
from memcap.records.wandb_charts import MOST_ROWS
from memcap.records.wandb_ids import note_id, used_ids
from memcap.records.wandb_run import Charts
from memcap.records.wandb_tracker import WandbTracker

AXIS: Final = "study/ended"
ROW_EVERY_S: Final = 1.0
TABLE_EVERY_S: Final = 60.0  # then 120 s, 240 s, ...: a study of days logs a dozen tables


class StudyTracker:
    """The W&B run of a study; to a sweep it looks like ``WandbTracker``, but its runs are rows of one table.

    Every command that trains something makes a new W&B run, whose id is noted in ``wandb.json`` of the study's
    folder. Its rows (``study/ended``, ``study/finished``, ``study/diverged``, ``study/failed``, ``study/skipped``,
    ``study/bits_best``) come once per second at most, its table of cells at the end and 60, 120, 240, ... s after
    the start.
    """

    def __init__(
        self,
        tracking: TrackingConfig,
        study: str,
        folder: Path,
        study_folder: Path,
        cells: Sequence[Cell],
        *,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._tracker = WandbTracker(tracking, study, folder, axis=AXIS, warn=warn)
        configs = [_flat(cell.config.to_dict()) for cell in cells]
        known = dict.fromkeys(key for config in configs for key in config)
        self._keys = [key for key in known if any(c.get(key) != configs[0].get(key) for c in configs)]
        self._cells = {
            cell.run_id: [config.get(key) for key in self._keys]
            for cell, config in zip(cells, configs, strict=True)
        }
        self._sending: threading.Thread | None = None
        self._ends: dict[str, dict[str, Any]] = {}
        self._counts = dict.fromkeys(("finished", "diverged", "failed", "skipped"), 0)
        self._best = -math.inf
        now = time.monotonic()
        self._next_row, self._next_table, self._pause = now, now + TABLE_EVERY_S, TABLE_EVERY_S
        fixed = {key: value for key, value in configs[0].items() if key not in self._keys}
        config = {**_nested(fixed), "swept": self._keys, "num_cells": len(cells)}
        self._run = self._tracker.start(study, config, study, wandb_id=uuid.uuid4().hex[:12])
        self.record = self._run.record
        if self.mode != "disabled":
            study_folder.mkdir(parents=True, exist_ok=True)
            note_id(study_folder, self.record, used_ids(study_folder))

    @property
    def mode(self) -> str:
        """``online``, ``offline`` or ``disabled``, now."""
        return self._tracker.mode

    @property
    def url(self) -> str | None:
        """The run's page on the server; None for an offline run."""
        return self.record.get("url")

    def start(self, run_id: str, config: Mapping[str, Any], name: str, **of_its_own_run: Any) -> StudyRow:
        """The row of one run."""
        return StudyRow(self, run_id)

    def discard(self, run_id: str) -> bool:
        """Nothing is there before a run's end."""
        return False

    def close(self, exit_code: int = 0) -> None:
        """Log the last row and the table, and end the W&B run with this exit code; 15 s at most."""
        if self.mode != "disabled":
            self._log_row()
            self._run.finish(
                {
                    **self._counts,
                    "bits_best": self._best if math.isfinite(self._best) else None,
                    "num_cells": len(self._cells),
                },
                exit_code if sum(self._counts.values()) < len(self._cells) or self._counts["failed"] else 0,
                charts=lambda: {AXIS: len(self._ends), "study/cells": self.table()},
            )
        self._tracker.close(exit_code)

    def enter(self, run_id: str, summary: Mapping[str, Any]) -> None:
        """A run has ended: count it, and log what is due. Of a run that was entered before, take what is new."""
        if run_id in self._ends:
            self._ends[run_id] |= summary
            return
        self._ends[run_id] = dict(summary)
        status = str(summary.get("status", "failed"))
        self._counts[status] = self._counts.get(status, 0) + 1
        bits = summary.get("memory/bits")
        if bits is not None and math.isfinite(bits):
            self._best = max(self._best, float(bits))
        now = time.monotonic()
        if now >= self._next_row:
            self._next_row = now + ROW_EVERY_S
            self._log_row()
        if now >= self._next_table:
            self._pause *= 2
            self._next_table = now + self._pause
            self._log_table()

    def table(self) -> Any:
        """A row per ended run: its id, what is swept, its summary; the first 10,000."""
        import wandb

        ends = dict(list(self._ends.items())[:MOST_ROWS])
        names = list(dict.fromkeys(name for summary in ends.values() for name in summary))
        rows: list[Any] = [
            [run_id, *map(_cell, self._cells[run_id]), *(_cell(summary.get(name)) for name in names)]
            for run_id, summary in ends.items()
        ]
        return wandb.Table(columns=["run_id", *self._keys, *names], data=rows, allow_mixed_types=True)

    def _log_table(self) -> None:
        """Log the table so far: online in a thread, since the client asks the server about each table."""
        row = {AXIS: len(self._ends), "study/cells": self.table()}
        if self.mode == "online":
            self._sending = threading.Thread(target=self._run.log, args=(row,), daemon=True)
            self._sending.start()
        else:
            self._run.log(row)

    def _log_row(self) -> None:
        if self._sending is not None and self._sending.is_alive():
            return
        row: dict[str, Any] = {AXIS: len(self._ends)}
        row |= {f"study/{status}": number for status, number in self._counts.items()}
        if math.isfinite(self._best):
            row["study/bits_best"] = self._best
        self._run.log(row)


class StudyRow:
    """What a run's mirror is where the study has one W&B run: nothing until it ends."""

    def __init__(self, study: StudyTracker, run_id: str) -> None:
        self._study, self._run_id, self._ended = study, run_id, False
        self.record = study.record

    def log(self, row: Mapping[str, Any]) -> None:
        """Rows of single runs stay in their run folders."""

    def finish(self, summary: Mapping[str, Any], exit_code: int, charts: Charts | None = None) -> None:
        """The run has ended: its summary becomes a row of the table."""
        if not self._ended:
            self._ended = True
            self._study.enter(self._run_id, summary)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        inner = nested
        *path, last = key.split(".")
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return nested


def _cell(value: Any) -> Any:
    """A value as a table takes it: lists as text."""
    return str(value) if isinstance(value, (list, tuple, dict)) else value
