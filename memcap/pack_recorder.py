"""What happens to the members of one pack, written down as it happens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from memcap.checkpoint import PackCheckpoint
from memcap.config.cell import Cell
from memcap.config.implementation import own_sources
from memcap.engines import BatchedEngine, Engine
from memcap.errors import BadInput, Interrupted
from memcap.interruption import Signals
from memcap.ledger import Ledger
from memcap.measures.observation import Row
from memcap.models import build_model
from memcap.records.folder_lock import FolderLock
from memcap.records.provenance import provenance
from memcap.records.run_folder import RunFolder
from memcap.records.run_record import result_record
from memcap.records.study_folder import index_row
from memcap.records.wandb_charts import charts
from memcap.records.wandb_earlier import earlier_run, note_opened, note_run, reserve_id
from memcap.records.wandb_ids import forget_ids, next_id, used_ids
from memcap.records.wandb_run import WandbRun
from memcap.records.wandb_study import StudyRow, StudyTracker
from memcap.resumption import Resumption
from memcap.training import MemberResult, Training


class PackRecorder:
    """Writes what happens to the members of one pack into their run folders, and mirrors it to W&B."""

    def __init__(self, pack: Sequence[Cell], ledger: Ledger, resumption: Resumption | None = None) -> None:
        self.pack = list(pack)
        self.ledger = ledger
        self.member_steps = self.skipped_steps = 0
        self.folders = [RunFolder(ledger.outputs, cell.run_id) for cell in pack]
        self.locks: dict[str, FolderLock] = {}
        self.taken_over: set[str] = set()  # ids of runs that other processes have now
        self.attempts: list[int] = []
        self.mirrors: list[WandbRun | StudyRow] = []
        self.rows_before: dict[str, list[Row]] = {}  # by run id: of trainings that continue, up to where
        self.resumption = resumption
        self.checkpoint = PackCheckpoint(
            pack, ledger.outputs, None if resumption is None else resumption.checkpoint
        )
        self.engine: Engine = BatchedEngine()

    def start(self) -> None:
        """Opens the folder of each run; one that cannot be opened fails, and one that is busy is left for later.

        A W&B run is opened before its run folder is written: the server may refuse the first one.
        """
        opened, num_lost = [], 0
        for cell, folder in zip(self.pack, self.folders, strict=True):
            try:
                if not self._take(cell, folder):
                    self.ledger.busy.append(cell)
                    continue
                if self.resumption is not None and not self.resumption.is_of(folder):
                    self.locks.pop(cell.run_id).release()
                    num_lost += 1
                    continue
                if self.resumption is not None:
                    rows = folder.unfinished_rows(self.resumption.rows(cell.run_id))
                    self.rows_before[cell.run_id] = rows
                mirror = self._mirror(cell, folder)
                self.attempts.append(self._begin(cell, folder))
                self.mirrors.append(mirror)
                opened.append((cell, folder))
            except OSError as error:
                self.ledger.fail(cell, error)
        self.pack = [cell for cell, _ in opened]
        self.folders = [folder for _, folder in opened]
        if num_lost:  # they are trained with those that have no checkpoint
            runs = "1 run starts" if num_lost == 1 else f"{num_lost} runs start"
            print(f"memcap: {runs} anew: history.jsonl has fewer rows than the checkpoint", file=sys.stderr)
        self.ledger.progress.begin(len(self.pack))

    def _begin(self, cell: Cell, folder: RunFolder) -> int:
        """Starts the run's next attempt, or goes on with the last one, and returns its number."""
        config, rows = cell.config.to_dict(), 0
        note = {"checkpoints": self.checkpoint.tokens, "forced": cell.config.force}
        if self.resumption is None:
            attempt = folder.start(config, note)
        else:
            rows = self.resumption.rows(cell.run_id)
            attempt = folder.resume(config, rows, note)
        self.checkpoint.rows[cell.run_id] = rows
        return attempt

    def _mirror(self, cell: Cell, folder: RunFolder) -> WandbRun | StudyRow:
        """The W&B run of this attempt: that of the attempt which it continues, or one under an id of its own."""
        tracker, name = self.ledger.open_tracker(), " ".join(cell.overrides) or cell.run_id
        if tracker.mode == "disabled" or isinstance(tracker, StudyTracker):
            return tracker.start(cell.run_id, cell.config.to_dict(), name)
        used, attempt = used_ids(folder.path), folder.attempts() + 1
        if tracker.discard(cell.run_id):
            used = used[:-1]
        rows = self.rows_before.get(cell.run_id)
        earlier = None if rows is None else earlier_run(folder.path, tracker.folder / "wandb")
        wandb_id = next_id(cell.run_id, attempt, used)
        ids = reserve_id(folder.path, self.ledger.agent_run_id or wandb_id, used, earlier)
        try:
            config = cell.config.to_dict()
            mirror = tracker.start(
                cell.run_id, config, name, wandb_id=wandb_id, rows_before=rows, earlier=earlier
            )
        except (BadInput, KeyboardInterrupt, Interrupted):
            if not used and rows is None:  # no row was sent: the id is as good as new
                forget_ids(folder.path)
            self.release()
            with contextlib.suppress(OSError):  # the run's folder and those above, as long as they are empty
                for path in (folder.path, *folder.path.parents[:2]):
                    path.rmdir()
            raise
        note_run(folder.path, mirror.record, ids, tracker.folder / "wandb", mirror.files is not None)
        return mirror

    def _take(self, cell: Cell, folder: RunFolder) -> bool:
        """Locks the run; False if another process trains it, or has finished it since the cells were sorted out."""
        lock = FolderLock(folder.path, self.ledger.owner)
        if not lock.acquire():
            return False
        result = folder.read_result() or {}
        if result.get("attempts", 0) != self.ledger.known_attempts.get(cell.run_id, 0):
            lock.release()
            return False
        self.locks[cell.run_id] = lock
        return True

    def release(self) -> None:
        """Gives back the locks of the runs that have not ended."""
        for lock in self.locks.values():
            lock.release()
        self.locks.clear()

    def _is_ours(self, member: int) -> bool:
        """Whether the member has not ended and its run is still this process's: else nothing of it is written.

        A process that stood still for longer than its lease finds its runs taken over, and waits for their results
        as it does for all runs of others.
        """
        cell = self.pack[member]
        if not self.ledger.is_open(cell) or cell.run_id in self.taken_over:
            return False
        lock = self.locks.get(cell.run_id)
        if lock is None or lock.is_held():
            return True
        print(
            f"memcap: {cell.run_id}: taken over by another process while this one stood still",
            file=sys.stderr,
        )
        self.taken_over.add(cell.run_id)
        self.ledger.busy.append(cell)
        self.ledger.progress.advance(0, -cell.config.budget.steps)  # to be trained there, or here once more
        if member < len(self.mirrors):
            self.mirrors[member].finish({"status": "taken over by another process"}, 1)
        return False

    def on_advance(self, member_steps: int, skipped: int) -> None:
        self.member_steps += member_steps
        self.skipped_steps += skipped
        self.ledger.progress.advance(member_steps, skipped)

    def on_row(self, member: int, row: Row) -> None:
        try:
            if not self._is_ours(member):
                return
            self.folders[member].append(row)
        except OSError as error:
            self.fail(member, error)
            return
        self.checkpoint.rows[self.pack[member].run_id] += 1
        self.mirrors[member].log(row)
        self.ledger.progress.show(member, row)

    def at_rest(self, training: Training, signals: Signals) -> None:
        """Saves the members that are left, when that is due or asked for, and stops where that is."""
        signals.defer()
        if signals.wants_save or signals.wants_stop or self.checkpoint.is_due:
            cells = [self.pack[place] for place in training.places]
            saved = self.checkpoint.save(cells, training, self.engine.name)
            if saved and (signals.wants_save or signals.wants_stop):
                print(
                    f"memcap: saved at step {training.population.step}, runs: {len(cells)}", file=sys.stderr
                )
            signals.wants_save = False
        signals.raise_stop()

    def on_end(self, member: int, result: MemberResult) -> None:
        if not self.ledger.is_open(self.pack[member]):
            return
        cell, status = self.pack[member], result.ending.status
        summary = self._summary(cell, result)
        record = result_record(
            run_id=cell.run_id,
            status=status,
            stop_reason=result.ending.reason,
            steps=result.steps,
            attempts=self.attempts[member],
            config=cell.config.to_dict(),
            summary=summary,
            provenance=self._provenance(cell, result) | self._whereabouts(member),
            studies=[self.ledger.study.name],
        )
        try:
            if not self._is_ours(member):
                return
            self.folders[member].finish(record, result.arrays)
        except OSError as error:
            self.fail(member, error)
            return
        self.locks.pop(cell.run_id).release()
        self.ledger.by_id[cell.run_id].take(record)
        kind = cell.config.tracking.charts
        self.mirrors[member].finish(
            {**summary, "status": status, "stop_reason": result.ending.reason},
            0,
            charts=None if kind == "none" else lambda: charts(kind, result.arrays),
        )
        try:
            self.ledger.study.append_index(index_row(record, cell.overrides))
        except OSError as error:  # the run is whole, and the index can be rebuilt from the run folders
            print(
                f"memcap: {self.ledger.study.path}/index.jsonl lacks {cell.run_id}: {error}", file=sys.stderr
            )
        self.ledger.progress.count(status)

    def fail(self, member: int, error: Exception) -> None:
        """The member has no result: recorded as a failure, here and in its W&B run."""
        with contextlib.suppress(OSError):  # where even that cannot be told, the failure is ours
            if not self._is_ours(member):
                return
        self.ledger.fail(self.pack[member], error)
        if lock := self.locks.pop(self.pack[member].run_id, None):
            lock.release()
        if member < len(self.mirrors):
            self.mirrors[member].finish({"status": "failed"}, 1)
            note_opened(self.folders[member].path)

    def _summary(self, cell: Cell, result: MemberResult) -> dict[str, Any]:
        model = build_model(cell.config)
        return {
            **result.row,
            "num_samples": cell.config.data.num_samples,
            "num_parameters": model.num_parameters,
            "num_parameters_without_head": model.num_parameters_without_head,
            "num_parameters_effective": model.num_parameters_effective,
        }

    def _whereabouts(self, member: int) -> dict[str, Any]:
        record = self.mirrors[member].record
        return {} if record["mode"] == "disabled" else {"wandb": record}

    def _provenance(self, cell: Cell, result: MemberResult) -> dict[str, Any]:
        hardware = cell.config.hardware
        record = provenance(
            device=hardware.device,
            engine=self.engine.name,
            threads=self.engine.num_threads,
            wall_time_s=self.checkpoint.wall_time_s,
            data_fingerprint=result.data_fingerprint,
        )
        if self.checkpoint.resumed_from_steps:
            record["resumed_from_steps"] = self.checkpoint.resumed_from_steps
        return {**record, "population": len(self.pack), "own_sources": own_sources(cell.config)}
