"""A sweep from its cells to their records: what is left to do, one pack after the other, and the closing table."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence

from memcap.config.cell import Cell
from memcap.config.implementation import own_sources
from memcap.engines import build_engine
from memcap.engines.threads import set_threads
from memcap.errors import BadInput, Interrupted
from memcap.grouping import packs
from memcap.ledger import Ledger
from memcap.outcome import CellOutcome
from memcap.pack_recorder import PackRecorder
from memcap.records.closing import print_closing
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.records.run_lock import allow_locks
from memcap.records.study_folder import index_row
from memcap.training import train_population

STOPPED = (KeyboardInterrupt, Interrupted)
BUSY_PAUSE_S = 0.5  # between looks at runs that another process trains


class StudyRun:
    """Trains the cells of one sweep that are not finished; what happens to one run stays with that run."""

    def __init__(self, cells: Sequence[Cell], *, axes: Sequence[str], study: str, command: str) -> None:
        self.ledger = Ledger(cells, study)
        self.ids = [cell.run_id for cell in cells]
        self.axes, self.command = list(axes), command

    def run(self) -> list[CellOutcome]:
        """Skips, trains, prints the table; a stop (Ctrl-C, SIGTERM) is raised again when all is closed."""
        ledger, started = self.ledger, time.monotonic()
        todo = self._sort_out(ledger.outcomes)
        existed = ledger.study.path.exists()
        if todo:
            allow_locks(ledger.config.hardware.max_members)
            ledger.check_num_wandb_runs()
        stopped: BaseException | None = None
        try:
            if todo:
                ledger.open_tracker()
            self._list_cells()
            ledger.progress = Progress(sum(cell.config.budget.steps for cell in todo), len(ledger.by_id))
            for outcome in ledger.outcomes:
                if not ledger.is_open(outcome.cell):
                    ledger.progress.count(outcome.status)
            with ledger.progress:
                self._train_all(todo)
                self._train_busy()
                self._answer_agent()
        except STOPPED as error:
            stopped = error
        except BadInput:
            if not existed:
                self._leave_nothing()
            raise
        finally:
            if ledger.tracker is not None:
                ledger.tracker.close(130 if stopped else 1)
        self._close(time.monotonic() - started)
        if stopped is not None:
            raise stopped
        return [ledger.by_id[run_id] for run_id in self.ids]

    def _leave_nothing(self) -> None:
        """Removes the study's folder and the folders above, as long as they are empty: nothing was written."""
        path = self.ledger.study.path
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _answer_agent(self) -> None:
        """Mirrors a run that was finished before into the W&B run that an agent expects of this process."""
        ledger = self.ledger
        outcome = ledger.outcomes[0]
        before = outcome.status == "skipped" or (outcome.status == "failed" and not ledger.num_failed_now)
        if ledger.agent_run_id is None or not before:
            return
        folder, config = RunFolder(ledger.outputs, outcome.cell.run_id), outcome.cell.config.to_dict()
        name = " ".join(outcome.cell.overrides) or outcome.cell.run_id
        mirror = ledger.open_tracker().start(outcome.cell.run_id, config, name)
        result = folder.read_result()
        for row in folder.read_history() if result else []:
            mirror.log(row)
        status = {key: (result or {}).get(key, outcome.status) for key in ("status", "stop_reason")}
        mirror.finish({**outcome.summary, **status}, 0 if result else 1)

    def _sort_out(self, outcomes: Sequence[CellOutcome]) -> list[Cell]:
        """The cells to train; the others get their outcome from what is on disk. Writes nothing."""
        ledger, config = self.ledger, self.ledger.config
        todo: list[Cell] = []
        lacking: dict[str, list[str]] = {}
        changed: list[str] = []
        for outcome in outcomes:
            cell, folder = outcome.cell, RunFolder(ledger.outputs, outcome.cell.run_id)
            recorded_result = folder.read_result()
            ledger.known_attempts[cell.run_id] = int((recorded_result or {}).get("attempts", 0))
            result = None if config.force else recorded_result
            given_up = folder.failures() >= config.max_attempts and not config.force
            if result is not None:
                recorded = result["config"]["measure"]
                lacks = cell.config.measure.lacking(recorded)
                if not lacks or given_up:
                    if result["provenance"].get("own_sources", {}) != own_sources(cell.config):
                        changed.append(cell.run_id)
                    outcome.status, outcome.summary = "skipped", result["summary"]
                    continue
                # What was not measured along the way can only be had by training again, with all that it has.
                lacking[cell.run_id] = lacks
                joined = cell.config.measure.joined(recorded)
                todo.append(
                    dataclasses.replace(cell, config=dataclasses.replace(cell.config, measure=joined))
                )
            elif given_up and (failure := folder.read_failure()) is not None:
                outcome.status = "failed"
                number = failure["failures"]
                outcome.error = (
                    f"{failure['error']} (failed {number} times; max_attempts={number + 1} tries once more)"
                )
            else:
                todo.append(cell)
        self._say_what_is_odd(lacking, changed)
        return todo

    def _say_what_is_odd(self, lacking: Mapping[str, Sequence[str]], changed: Sequence[str]) -> None:
        if changed:
            print(
                f"memcap: finished runs are kept, though the code of your own parts has changed since: {len(changed)};"
                " if that moves numbers, raise the part's version, or use force=true",
                file=sys.stderr,
            )
        if lacking:
            names = ", ".join(sorted({f"measure.{name}" for names in lacking.values() for name in names}))
            print(
                f"memcap: finished runs are trained again, since they lack {names}: {len(lacking)}",
                file=sys.stderr,
            )
        if len(self.ids) > len(self.ledger.by_id):
            print(
                f"memcap: {len(self.ids)} cells are {len(self.ledger.by_id)} runs: some differ only in keys that"
                " change no numbers",
                file=sys.stderr,
            )

    def _list_cells(self) -> None:
        """Enters the cells in the study, and in its index those that another study has finished already."""
        ledger = self.ledger
        listed = [{"run_id": o.cell.run_id, "overrides": list(o.cell.overrides)} for o in ledger.outcomes]
        try:
            ledger.study.open(self.axes, listed, self.command)
        except OSError as error:
            raise BadInput(f"paths.outputs={ledger.outputs} cannot be written: {error}") from None
        indexed = ledger.study.read_index()
        for outcome in ledger.outcomes:
            folder = RunFolder(ledger.outputs, outcome.cell.run_id)
            if outcome.status != "skipped" or folder.run_id in indexed:
                continue
            folder.add_study(ledger.study.name)
            result = folder.read_result()
            assert result is not None
            ledger.study.append_index(index_row(result, outcome.cell.overrides))

    def _train_all(self, todo: Sequence[Cell]) -> None:
        for pack in packs(todo):
            self._train_pack(pack)
            if self._stops_early():
                return

    def _train_busy(self) -> None:
        """Waits for runs that another process trains, and trains those that it leaves unfinished."""
        ledger, said = self.ledger, False
        while ledger.busy and not self._stops_early():
            busy, ledger.busy = ledger.busy, []
            todo = self._sort_out([ledger.by_id[cell.run_id] for cell in busy])
            for cell in busy:
                if not ledger.is_open(cell):
                    ledger.progress.count(ledger.by_id[cell.run_id].status)
                    ledger.progress.advance(0, skipped=cell.config.budget.steps)
            self._train_all(todo)
            if len(ledger.busy) == len(busy):
                if not said:
                    said = True
                    print(
                        f"memcap: waiting for runs that another process trains: {len(busy)}", file=sys.stderr
                    )
                time.sleep(BUSY_PAUSE_S)
            elif not ledger.busy:
                self._list_cells()  # with those that the other process finished

    def _stops_early(self) -> bool:
        return self.ledger.config.fail_fast and self.ledger.num_failed_now > 0

    def _train_pack(self, pack: Sequence[Cell]) -> None:
        """Trains a pack; if that fails as a whole, halves of it, until the failure belongs to one run."""
        recorder = PackRecorder(pack, self.ledger)
        try:
            recorder.start()
            live = [cell.config for cell in recorder.pack]
            if live:
                set_threads(live)
                train_population(live, build_engine(live[0].hardware), recorder)
            return
        except (*STOPPED, BadInput):
            raise
        except Exception as error:
            if len(recorder.pack) == 1:
                recorder.fail(0, error)
                return
        finally:
            recorder.release()
        # Outside of the except block: its traceback holds the whole population in memory.
        left = [cell for cell in recorder.pack if self.ledger.is_open(cell)]
        # What was trained of this pack is trained again: the bar goes back.
        self.ledger.progress.advance(-recorder.member_steps, -recorder.skipped_steps)
        half = (len(left) + 1) // 2
        for part in (left[:half], left[half:]):
            if part and not self._stops_early():
                self._train_pack(part)

    def _close(self, wall_time_s: float) -> None:
        """Prints the table; whoever read our output may be gone (``| head``), which is no failure."""
        ledger = self.ledger
        for outcome in ledger.outcomes:
            if ledger.is_open(outcome.cell):
                ledger.progress.count("interrupted")
        try:
            print_closing(
                [(o.cell, o.status, o.summary, o.error) for o in ledger.outcomes],
                study=ledger.study,
                progress=ledger.progress,
                wall_time_s=wall_time_s,
                command=self.command,
                axes=self.axes,
                wandb_url=ledger.tracker.url if ledger.tracker else None,
                wandb_folder=ledger.wandb_folder,
            )
            sys.stdout.flush()
        except (OSError, SystemExit):  # rich makes a SystemExit of a broken pipe
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
