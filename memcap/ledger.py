"""The books of one sweep: outcomes, the study's folder, the W&B tracker and the progress, kept together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from memcap.config.cell import Cell
from memcap.outcome import CellOutcome
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder, failure_record
from memcap.records.study_folder import StudyFolder
from memcap.records.wandb_run import WandbTracker


class Ledger:
    """What is known of each run of a sweep, by run id, in the order of its cells."""

    def __init__(self, cells: Sequence[Cell], study: str) -> None:
        self.config = cells[0].config
        self.outputs = Path(self.config.paths.outputs)
        self.study = StudyFolder(self.outputs, study)
        self.num_cells = len(cells)
        # A sweep may name one run twice, by keys that do not count in its id: it trains once, both get its outcome.
        self.by_id: dict[str, CellOutcome] = {}
        for cell in cells:
            self.by_id.setdefault(cell.run_id, CellOutcome(cell))
        self.num_failed_now = 0  # by this command, not by earlier ones
        self.known_attempts: dict[
            str, int
        ] = {}  # of the results that were there when the cells were sorted out
        self.busy: list[Cell] = []  # another process has their run
        self.tracker: WandbTracker | None = None
        self.progress = Progress(0, len(self.by_id))

    @property
    def outcomes(self) -> list[CellOutcome]:
        """One for each distinct run."""
        return list(self.by_id.values())

    def is_open(self, cell: Cell) -> bool:
        """Whether nothing has become of this cell yet."""
        return self.by_id[cell.run_id].status == "interrupted"

    def open_tracker(self) -> WandbTracker:
        """The tracker of this sweep's W&B runs, made once there is something to train."""
        if self.tracker is None:
            tracking = self.config.tracking
            self.tracker = WandbTracker(
                tracking.mode,
                tracking.project,
                tracking.entity,
                self.study.name,
                self.study.path,
                list(tracking.tags),
                tracking.notes,
                max_live=tracking.max_live,
            )
        return self.tracker

    def fail(self, cell: Cell, error: BaseException) -> None:
        """Records a failure; if even that cannot be written, the outcome still says it."""
        outcome = self.by_id[cell.run_id]
        folder = RunFolder(self.outputs, cell.run_id)
        record = failure_record(
            run_id=cell.run_id,
            error=error,
            attempts=folder.attempts(),
            failures=folder.failures() + 1,
            config=cell.config.to_dict(),
        )
        outcome.status, outcome.error = "failed", record["error"]
        self.num_failed_now += 1
        self.progress.count("failed")
        try:
            folder.fail(record)
        except OSError as second:
            print(f"memcap: {cell.run_id}: its failure could not be written: {second}", file=sys.stderr)
