"""The books of one sweep: outcomes, the study's folder, the W&B tracker and the progress, kept together."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from memcap.config.cell import Cell
from memcap.environment import agent_run_id
from memcap.errors import BadInput
from memcap.outcome import CellOutcome
from memcap.records.owner import Owner
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import failure_record
from memcap.records.study_folder import StudyFolder
from memcap.records.wandb_study import StudyTracker
from memcap.records.wandb_tracker import WandbTracker


class Ledger:
    """What is known of each run of a sweep, by run id, in the order of its cells."""

    def __init__(self, cells: Sequence[Cell], study: str, part: str | None = None) -> None:
        self.part = part
        self.config = cells[0].config
        self.outputs = Path(self.config.paths.outputs)
        self.study = StudyFolder(self.outputs, study)
        self.owner = Owner(self.outputs)  # of the locks of this sweep
        self.num_cells = len(cells)
        # A sweep may name one run twice, by keys that do not count in its id: it trains once, both get its outcome.
        self.by_id: dict[str, CellOutcome] = {}
        for cell in cells:
            self.by_id.setdefault(cell.run_id, CellOutcome(cell))
        self.num_failed_now = 0  # by this command, not by earlier ones
        # Of the results that were there when the cells were sorted out.
        self.known_attempts: dict[str, int] = {}
        self.busy: list[Cell] = []  # another process has their run
        self.tracker: WandbTracker | StudyTracker | None = None
        self.progress = Progress(0, len(self.by_id))

    @property
    def outcomes(self) -> list[CellOutcome]:
        """One for each distinct run."""
        return list(self.by_id.values())

    def is_open(self, cell: Cell) -> bool:
        """Whether nothing has become of this cell yet."""
        return self.by_id[cell.run_id].status == "interrupted"

    @property
    def agent_run_id(self) -> str | None:
        """The W&B run that an agent expects of this sweep, which it can as long as that is a single run."""
        return agent_run_id(os.environ) if len(self.by_id) == 1 and self.part is None else None

    @property
    def wandb_folder(self) -> Path:
        """What holds the folder ``wandb/`` of this study."""
        folder = self.config.tracking.folder
        return Path(folder) / self.study.name if folder else self.study.path

    def check_num_wandb_runs(self, number: int) -> None:
        """Raises BadInput where a command would make more W&B runs than ``tracking.max_runs``."""
        tracking = self.config.tracking
        if tracking.mode != "disabled" and tracking.per == "run" and number > tracking.max_runs:
            raise BadInput(
                f"tracking.max_runs={tracking.max_runs} W&B runs at most, but {number} cells are to be trained; use"
                f" tracking.per=study (one W&B run with a table), tracking=disabled, or tracking.max_runs={number}"
            )

    def open_tracker(self) -> WandbTracker | StudyTracker:
        """The tracker of this sweep's W&B runs, made once there is something to train."""
        if self.tracker is None:
            tracking, name, folder = self.config.tracking, self.study.name, self.wandb_folder
            if self.part is not None and tracking.per == "study":
                # Who waits for all parts writes the study's one run.
                tracking = dataclasses.replace(tracking, mode="disabled")
            if tracking.per == "study" and tracking.mode != "disabled" and self.agent_run_id is None:
                cells = [outcome.cell for outcome in self.outcomes]
                self.tracker = StudyTracker(tracking, name, folder, self.study.path, cells)
                self._enter_ended(self.tracker)
            else:
                self.tracker = WandbTracker(tracking, name, folder, agent_run_id=self.agent_run_id)
        return self.tracker

    def close_tracker(self, exit_code: int) -> None:
        """Ends the W&B runs that are still open with this exit code."""
        if isinstance(self.tracker, StudyTracker):
            self._enter_ended(
                self.tracker
            )  # also what another process finished, and what was measured meanwhile
        if self.tracker is not None:
            self.tracker.close(exit_code)

    def _enter_ended(self, tracker: StudyTracker) -> None:
        for outcome in self.outcomes:
            if not self.is_open(outcome.cell):
                tracker.enter(outcome.cell.run_id, {**outcome.summary, "status": outcome.status})

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
