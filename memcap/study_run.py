"""One run of a sweep: which cells are left to do, packs of them one after the other, records of each."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from memcap.cells import CellOutcome
from memcap.config.cell import Cell
from memcap.engines import build_engine
from memcap.engines.threads import set_threads
from memcap.errors import Interrupted
from memcap.grouping import packs
from memcap.measures.observation import Row
from memcap.models import build_model
from memcap.records.closing import print_closing
from memcap.records.progress import Progress
from memcap.records.provenance import provenance
from memcap.records.run_folder import RunFolder, failure_record, result_record
from memcap.records.study_folder import StudyFolder, index_row
from memcap.records.wandb_run import WandbRun, WandbTracker
from memcap.training import MemberResult, train_population

STOPPED = (KeyboardInterrupt, Interrupted)


class StudyRun:
    """Trains the cells of one sweep that are not finished; what happens to one run stays with that run."""

    def __init__(self, cells: Sequence[Cell], *, axes: Sequence[str], study: str, command: str) -> None:
        self.config = cells[0].config
        self.outputs = Path(self.config.paths.outputs)
        self.study = StudyFolder(self.outputs, study)
        self.axes, self.command = list(axes), command
        # A sweep may name one run twice (two spellings of a default): it trains once and both get its outcome.
        self.by_id = {cell.run_id: CellOutcome(cell) for cell in cells}
        self.outcomes = [self.by_id[cell.run_id] for cell in cells]
        self.failures: dict[str, int] = {}
        self.tracker: WandbTracker | None = None
        self.progress = Progress(0, len(self.by_id))

    def run(self) -> list[CellOutcome]:
        """Skips, trains, and prints the table; a stop (Ctrl-C, SIGTERM) is raised again when all is closed."""
        started = time.monotonic()
        listed = [{"run_id": cell.run_id, "overrides": list(cell.overrides)} for cell in self._cells()]
        self.study.open(self.axes, listed, self.command)
        todo = self._sort_out()
        total = sum(cell.config.budget.steps for cell in todo)
        self.progress = Progress(total, len(self.by_id))
        self._count_skipped()
        stopped: BaseException | None = None
        try:
            with self.progress:
                self._train_all(todo)
        except STOPPED as error:
            stopped = error
        finally:
            if self.tracker is not None:
                self.tracker.close(130 if stopped else 1)
        for outcome in self.by_id.values():
            if outcome.status == "interrupted":
                self.progress.count("interrupted")
        print_closing(
            [(o.cell, o.status, o.summary, o.error) for o in self._distinct()],
            study=self.study,
            progress=self.progress,
            wall_time_s=time.monotonic() - started,
            command=self.command,
            axes=self.axes,
        )
        if stopped is not None:
            raise stopped
        return self.outcomes

    def _cells(self) -> list[Cell]:
        return [outcome.cell for outcome in self.by_id.values()]

    def _distinct(self) -> list[CellOutcome]:
        return list(self.by_id.values())

    def _sort_out(self) -> list[Cell]:
        """The cells to train; the others get their outcome from what is on disk."""
        todo = []
        indexed = self.study.read_index()
        for run_id, outcome in self.by_id.items():
            folder = RunFolder(self.outputs, run_id)
            result = None if self.config.force else folder.read_result()
            failure = folder.read_failure()
            failures = int(failure.get("failures", 1)) if failure else 0
            if result is not None:
                outcome.status, outcome.summary = "skipped", result["summary"]
                folder.add_study(self.study.name)
                if run_id not in indexed:
                    self.study.append_index(index_row(result, outcome.cell.overrides))
            elif failure and failures >= self.config.max_attempts and not self.config.force:
                outcome.status = "failed"
                outcome.error = f"{failure['error']} (failed {failures} times; force=true tries again)"
            else:
                self.failures[run_id] = failures
                todo.append(outcome.cell)
        return todo

    def _count_skipped(self) -> None:
        for outcome in self.by_id.values():
            if outcome.status != "interrupted":
                self.progress.count(outcome.status)

    def _train_all(self, todo: Sequence[Cell]) -> None:
        if not todo:
            return
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
        for pack in packs(todo):
            self._train_pack(pack)
            failed = any(self.by_id[cell.run_id].status == "failed" for cell in pack)
            if self.config.fail_fast and failed:
                return

    def _train_pack(self, pack: Sequence[Cell]) -> None:
        """Trains a pack; if that fails as a whole, halves of it, until the failure belongs to one run."""
        listener = PackRecorder(pack, self)
        try:
            listener.start()
            live = [cell.config for cell in listener.pack]
            if live:
                set_threads(live)
                train_population(live, build_engine(live[0].hardware), listener)
        except STOPPED:
            raise
        except Exception as error:
            left = [cell for cell in pack if self.by_id[cell.run_id].status == "interrupted"]
            if len(left) == 1:
                self.fail(left[0], error)
                return
            # What was trained of this pack is trained again: the bar goes back.
            self.progress.advance(-listener.member_steps)
            half = (len(left) + 1) // 2
            for part in (left[:half], left[half:]):
                if part and not (self.config.fail_fast and self.progress.counts["failed"]):
                    self._train_pack(part)

    def fail(self, cell: Cell, error: BaseException) -> None:
        """Records a failure; if even that cannot be written, the outcome still says it."""
        outcome = self.by_id[cell.run_id]
        folder = RunFolder(self.outputs, cell.run_id)
        failures = self.failures.get(cell.run_id, 0) + 1
        record = failure_record(
            run_id=cell.run_id,
            error=error,
            attempts=folder.attempts(),
            failures=failures,
            config=cell.config.to_dict(),
        )
        outcome.status, outcome.error = "failed", record["error"]
        self.progress.count("failed")
        try:
            folder.fail(record)
        except OSError as second:
            print(f"memcap: {cell.run_id}: its failure could not be written: {second}", file=sys.stderr)


class PackRecorder:
    """Writes what happens to the members of one pack into their run folders, and mirrors it to W&B."""

    def __init__(self, pack: Sequence[Cell], run: StudyRun) -> None:
        self.pack = list(pack)
        self.run = run
        self.member_steps = 0
        self.folders = [RunFolder(run.outputs, cell.run_id) for cell in pack]
        self.attempts: list[int] = []
        self.mirrors: list[WandbRun] = []
        self.started = time.monotonic()

    def start(self) -> None:
        """Opens the folder of each run; one that cannot be opened fails and leaves the pack."""
        opened = []
        for cell, folder in zip(self.pack, self.folders, strict=True):
            try:
                self.attempts.append(folder.start(cell.config.to_dict()))
                opened.append((cell, folder))
            except OSError as error:
                self.run.fail(cell, error)
        self.pack = [cell for cell, _ in opened]
        self.folders = [folder for _, folder in opened]
        assert self.run.tracker is not None
        for cell in self.pack:
            name = " ".join(cell.overrides) or cell.run_id
            self.mirrors.append(self.run.tracker.start(cell.run_id, cell.config.to_dict(), name))

    def on_advance(self, member_steps: int, skipped: int) -> None:
        self.member_steps += member_steps
        self.run.progress.advance(member_steps, skipped)

    def on_row(self, member: int, row: Row) -> None:
        if self._open(member):
            try:
                self.folders[member].append(row)
            except OSError as error:
                self._fail(member, error)
                return
            self.mirrors[member].log(row)

    def on_end(self, member: int, result: MemberResult) -> None:
        if not self._open(member):
            return
        cell, status = self.pack[member], result.ending.status
        summary = self._summary(cell, result)
        arrays = {"samples": result.samples, "weights": result.weights}
        record = result_record(
            run_id=cell.run_id,
            status=status,
            stop_reason=result.ending.reason,
            steps=result.steps,
            attempts=self.attempts[member],
            config=cell.config.to_dict(),
            summary=summary,
            provenance=self._provenance(cell, result),
            studies=[self.run.study.name],
        )
        try:
            self.folders[member].finish(record, {name: values for name, values in arrays.items() if values})
        except OSError as error:
            self._fail(member, error)
            return
        outcome = self.run.by_id[cell.run_id]
        outcome.status, outcome.summary = status, summary
        self.mirrors[member].finish({**summary, "status": status, "stop_reason": result.ending.reason}, 0)
        self.run.study.append_index(index_row(record, cell.overrides))
        self.run.progress.count(status)

    def _open(self, member: int) -> bool:
        return self.run.by_id[self.pack[member].run_id].status == "interrupted"

    def _fail(self, member: int, error: Exception) -> None:
        self.run.fail(self.pack[member], error)
        self.mirrors[member].finish({"status": "failed"}, 1)

    def _summary(self, cell: Cell, result: MemberResult) -> dict[str, Any]:
        model = build_model(cell.config)
        return {
            **result.row,
            "num_samples": cell.config.data.num_samples,
            "num_parameters": model.num_parameters,
            "num_parameters_without_head": model.num_parameters_without_head,
            "num_parameters_effective": model.num_parameters_effective,
        }

    def _provenance(self, cell: Cell, result: MemberResult) -> dict[str, Any]:
        hardware = cell.config.hardware
        record = provenance(
            device=hardware.device,
            engine=build_engine(hardware).name,
            threads=torch.get_num_threads(),
            wall_time_s=time.monotonic() - self.started,
            data_fingerprint=result.data_fingerprint,
        )
        return {**record, "population": len(self.pack)}
