"""A sweep from its cells to their records: what is left to do, one pack after the other, and the closing table."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Sequence

from memcap.backlog import at_the_end, sort_out
from memcap.config.cell import Cell
from memcap.engines import build_engine
from memcap.engines.threads import set_threads
from memcap.errors import BadInput, Interrupted
from memcap.grouping import packs
from memcap.interruption import Signals
from memcap.ledger import Ledger
from memcap.listing import index_finished, list_cells
from memcap.outcome import CellOutcome
from memcap.pack_recorder import PackRecorder
from memcap.records.closing import print_closing
from memcap.records.leftovers import remove_leftovers
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.remeasuring import measure_finished
from memcap.resumption import Resumption, remove_orphans, resumptions
from memcap.training import Training, train_population

STOPPED = (KeyboardInterrupt, Interrupted)
BUSY_PAUSE_S = 0.5  # between looks at runs that another process trains


class StudyRun:
    """Trains the cells of one sweep that are not finished; what happens to one run stays with that run."""

    def __init__(
        self,
        cells: Sequence[Cell],
        *,
        axes: Sequence[str],
        study: str,
        command: str,
        signals: Signals,
        part: str | None = None,
    ) -> None:
        """``part`` names this share of a study that was listed when it was submitted; others train the rest."""
        self.ledger, self.part = Ledger(cells, study, part), part
        self.ids = [cell.run_id for cell in cells]
        self.axes, self.command, self.signals = list(axes), command, signals

    def run(self) -> list[CellOutcome]:
        """Skips, trains, prints the table; a stop (Ctrl-C, SIGTERM) is raised again when all is closed."""
        ledger, started = self.ledger, time.monotonic()
        backlog = sort_out(ledger, ledger.outcomes)
        todo = backlog.to_train
        existed = ledger.study.path.exists()
        if todo:
            _check_engines(todo)
            ledger.check_num_wandb_runs(len(todo))
        stopped: BaseException | None = None
        is_listed = self.part is not None
        try:
            if todo:
                ledger.open_tracker()
            if not is_listed:
                list_cells(ledger, self.axes, self.command)
                is_listed = True
            ledger.progress = Progress(sum(cell.config.budget.steps for cell in todo), len(ledger.by_id))
            for outcome in ledger.outcomes:
                if not ledger.is_open(outcome.cell):
                    ledger.progress.count(outcome.status)
            with ledger.progress:
                self._measure(backlog.to_measure)
                self._train_all(todo)
                self._train_busy()
                if self.part is None:
                    self._answer_agent()
                    self._clean_up()
        except STOPPED as error:
            stopped = error
            if not is_listed:  # a study that was begun is one that can be resumed
                with contextlib.suppress(BadInput):
                    list_cells(ledger, self.axes, self.command)
        except BadInput:
            if self.part is None and not existed and not ledger.progress.done:
                self._leave_nothing()
            raise
        finally:
            ledger.owner.close()
            ledger.close_tracker(130 if stopped else 1)
        self._close(time.monotonic() - started)
        if stopped is not None:
            raise stopped
        return [ledger.by_id[run_id] for run_id in self.ids]

    def _clean_up(self) -> None:
        """Removes what processes have left that were killed when their runs were finished already."""
        ledger = self.ledger
        skipped = [outcome.cell.run_id for outcome in ledger.outcomes if outcome.status == "skipped"]
        remove_leftovers(ledger.outputs, skipped, ledger.owner)
        remove_orphans(ledger.outputs)

    def _leave_nothing(self) -> None:
        """Removes the study's folder and the folders above, as long as they are empty: nothing was written."""
        path, owner = self.ledger.study.path, self.ledger.owner
        owner.close()
        shutil.rmtree(path, ignore_errors=True)
        for folder in (path.parent, owner.folder, path.parent.parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

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

    def _measure(self, cells: Sequence[Cell]) -> None:
        """Adds what finished runs lack and their weights can give."""
        if not cells:
            return
        measured = measure_finished([at_the_end(cell) for cell in cells], self.ledger.outputs)
        for cell in cells:
            if (summary := measured.summaries.get(cell.run_id)) is not None:
                self.ledger.by_id[cell.run_id].summary = summary
        print(
            f"memcap: finished runs were measured from their weights: {len(measured.summaries)}",
            file=sys.stderr,
        )
        for line in measured.reasons():
            print(f"memcap: not measured: {line}", file=sys.stderr)

    def _train_all(self, todo: Sequence[Cell]) -> None:
        """Goes on with what has a checkpoint, and trains the rest from its start."""
        for resumption in resumptions(todo, self.ledger.outputs):
            self._train_pack(resumption.cells, resumption)
            if self._stops_early():
                return
        busy = {cell.run_id for cell in self.ledger.busy}
        for pack in packs([cell for cell in todo if self.ledger.is_open(cell) and cell.run_id not in busy]):
            self._train_pack(pack)
            if self._stops_early():
                return

    def _train_busy(self) -> None:
        """Waits for runs that another process trains, and trains those that it leaves unfinished."""
        ledger, said = self.ledger, False
        while ledger.busy and not self._stops_early():
            busy, ledger.busy = ledger.busy, []
            backlog = sort_out(ledger, [ledger.by_id[cell.run_id] for cell in busy])
            for cell in busy:
                if not ledger.is_open(cell):
                    ledger.progress.count(ledger.by_id[cell.run_id].status)
                    ledger.progress.advance(0, skipped=cell.config.budget.steps)
            self._measure(backlog.to_measure)
            self._train_all(backlog.to_train)
            if len(ledger.busy) == len(busy):
                if not said:
                    said = True
                    print(
                        f"memcap: waiting for runs that another process trains: {len(busy)}", file=sys.stderr
                    )
                time.sleep(BUSY_PAUSE_S)
            elif not ledger.busy:
                index_finished(ledger)  # with those that the other process finished

    def _stops_early(self) -> bool:
        return self.ledger.config.fail_fast and self.ledger.num_failed_now > 0

    def _train_pack(self, pack: Sequence[Cell], resumption: Resumption | None = None) -> None:
        """Trains a pack; if that fails as a whole, halves of it, until the failure belongs to one run.

        Halves train from their start: the state that failed may be what is wrong.
        """
        recorder = PackRecorder(pack, self.ledger, resumption)
        try:
            recorder.start()
            if recorder.pack:
                self._train(recorder)
                recorder.checkpoint.remove()
            return
        except STOPPED:
            raise
        except Exception as error:
            recorder.checkpoint.remove()
            if isinstance(error, BadInput) and not recorder.attempts:
                raise  # no run was begun: W&B refuses the first one
            if len(recorder.pack) == 1:
                if self.ledger.is_open(recorder.pack[0]):  # else it is recorded already
                    recorder.fail(0, error)
                return
        finally:
            recorder.release()
        # Outside of the except block: its traceback holds the whole population in memory.
        left = [
            cell
            for cell in recorder.pack
            if self.ledger.is_open(cell) and cell.run_id not in recorder.taken_over
        ]
        # What was trained of this pack is trained again: the bar goes back.
        self.ledger.progress.advance(-recorder.member_steps, -recorder.skipped_steps)
        half = (len(left) + 1) // 2
        for part in (left[:half], left[half:]):
            if part and not self._stops_early():
                self._train_pack(part)

    def _train(self, recorder: PackRecorder) -> None:
        configs, training = [cell.config for cell in recorder.pack], None
        if recorder.resumption is None:
            set_threads(configs)
            recorder.engine = build_engine(configs)
        else:
            training, recorder.engine = recorder.resumption.take(recorder.pack)
            recorder.on_advance(0, training.population.step * len(configs))

        def at_rest(training: Training) -> None:
            recorder.at_rest(training, self.signals)

        with self.signals.no_longer_deferred():
            train_population(configs, recorder.engine, recorder, training=training, at_rest=at_rest)

    def _close(self, wall_time_s: float) -> None:
        """Prints the table; whoever read our output may be gone (``| head``), which is no failure."""
        ledger = self.ledger
        for outcome in ledger.outcomes:
            if ledger.is_open(outcome.cell):
                ledger.progress.count("interrupted")
        if self.part is not None:
            print(f"memcap: {ledger.progress.summary()} in {wall_time_s:.1f} s", file=sys.stderr)
            return
        with contextlib.suppress(OSError):  # the index can be rebuilt from the run folders
            ledger.study.tidy_index()
        try:
            print_closing(
                ledger.outcomes,
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


def _check_engines(todo: Sequence[Cell]) -> None:
    """Raises BadInput for ``hardware.engine=fused`` whose kernel cannot be built, before an attempt is counted."""
    for cell in todo:
        if cell.config.hardware.engine == "fused":
            build_engine([cell.config])
