"""Waiting for a sweep that others train: progress by runs, dead tasks once more, and the closing table."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Final

from memcap.errors import BadInput, Interrupted
from memcap.interruption import heard
from memcap.listing import index_finished
from memcap.records.closing import print_closing
from memcap.records.progress import Progress
from memcap.records.run_folder import RunFolder
from memcap.submission import local, slurm
from memcap.submission.plan import PlannedTask
from memcap.submission.retry import Retries
from memcap.submission.status_page import study_words
from memcap.submission.study_status import LIVE, study_status
from memcap.submission.submit import Submitted, Submitter
from memcap.submission.watch import Watch

STOP_WAIT_S: Final = 60.0  # for local workers to save what they have
SUBMIT_AGAIN_S: Final = 1800.0  # a cluster may be away for so long while a sweep waits
SUBMIT_AGAIN_PAUSE_S: Final = 15.0


def wait_for(submitter: Submitter, submitted: Submitted | None) -> None:
    """Waits until all runs of the study have ended, tries those of dead processes again, prints the table.

    Ctrl-C and SIGTERM end local workers, which save what they have; what Slurm has goes on there.
    """
    waiting, started = Waiting(submitter), time.monotonic()
    stopped: BaseException | None = None
    with heard(), waiting.progress:
        try:
            waiting.rounds(submitted)
        except (KeyboardInterrupt, Interrupted) as error:
            stopped = error
            waiting.stop()
    waiting.close(goes_on=stopped is not None and submitter.launcher == "slurm", started=started)
    if stopped is not None:
        raise stopped
    if waiting.retries.cancelled and not waiting.failed_fast:
        number = waiting.retries.cancelled
        raise Interrupted(f"cancelled; runs not finished: {number}; the same command goes on")


class Waiting:
    """One command that waits for the runs of a study, through all submissions that this takes."""

    def __init__(self, submitter: Submitter) -> None:
        self.submitter, self.ledger = submitter, submitter.ledger
        self.submitted: Submitted | None = None
        self.retries = Retries(submitter)
        self.failed_fast = False
        todo = [o.cell for o in self.ledger.outcomes if self.ledger.is_open(o.cell)]
        self.ended = self._counts()
        self.done = 0  # member-steps of earlier rounds
        self.progress = self.ledger.progress = Progress(
            sum(cell.config.budget.steps for cell in todo), len(self.ledger.by_id)
        )
        self.progress.counts = self.ended.copy()
        if todo and self.ledger.config.tracking.per == "study":
            self.ledger.open_tracker()  # tasks write none: it is one run for all of them

    def rounds(self, submitted: Submitted | None) -> None:
        """Submission after submission, until nothing is left that can be tried again."""
        while submitted is not None:
            self.submitted = submitted
            watch = Watch(submitted)
            self._until_over(watch)
            self.refresh()
            again = self.retries.tasks(submitted, watch.states, watch.slurm_states)
            submitted = self._submit_again(again) if again else None

    def _until_over(self, watch: Watch) -> None:
        while not watch.look():
            self._tell(watch)
            if self.ledger.config.fail_fast and watch.counts()["failed"]:
                self.failed_fast = True
                self._end_tasks(watch.submitted)
            time.sleep(watch.pause_s)
        self._tell(watch)
        self.done = self.progress.done

    def _tell(self, watch: Watch) -> None:
        steps, total = watch.steps()
        counts = watch.counts()
        for here in ("skipped", "interrupted"):  # by the tasks' own count, which is none of this command's
            del counts[here]
        self.progress.tasks = watch.tasks_text()
        self.progress.tell(self.done + steps, max(self.done + total, 1), self.ended + counts)

    def _end_tasks(self, submitted: Submitted) -> None:
        """Ends what goes on of a submission, for good."""
        if not submitted.folder.cancelled:
            submitted.folder.cancel()
            slurm.cancel([str(job["job_id"]) for job in submitted.jobs if not submitted.workers])
            local.stop_workers(submitted.workers)

    def refresh(self) -> None:
        """Takes the outcomes from the records; what earlier commands have left is none of this one's."""
        assert self.submitted is not None
        for outcome in self.ledger.outcomes:
            run_id = outcome.cell.run_id
            if not self.ledger.is_open(outcome.cell):
                continue
            folder = RunFolder(self.ledger.outputs, run_id)
            result = folder.read_result()
            if result is not None and result.get("attempts", 0) > self.ledger.known_attempts.get(run_id, 0):
                outcome.take(result)
            elif folder.failures() > self.submitted.failures.get(run_id, 0):
                failure = folder.read_failure() or {"error": "its failure.json is torn"}
                outcome.status, outcome.error = "failed", failure["error"]
        self.ended = self._counts()

    def stop(self) -> None:
        """Ends local workers, and waits while they save."""
        workers = self.submitted.workers if self.submitted is not None else []
        if workers and self.submitted is not None:
            self.submitted.folder.cancel()  # what its workers have not begun is not theirs any more
        local.stop_workers(workers)
        until = time.monotonic() + STOP_WAIT_S
        while time.monotonic() < until and not all(worker.done() for worker in workers):
            time.sleep(0.1)
        if not all(worker.done() for worker in workers):
            print("memcap: a worker has not ended yet; memcap.cancel ends it", file=sys.stderr)
        if self.submitted is not None:
            self.refresh()

    def close(self, *, goes_on: bool, started: float) -> None:
        """The table; the study's index whole again, unless tasks still write it.

        ``goes_on``: what has not ended is running or queued in Slurm, and is said to be.
        """
        ledger = self.ledger
        shown = {outcome.cell.run_id: outcome.status for outcome in ledger.outcomes}
        if goes_on:
            states = study_status(ledger.study).states
            shown |= {r: states[r] for r, was in shown.items() if was == "interrupted" and states[r] in LIVE}
        counts = Counter(shown.values())
        self.progress.tell(self.progress.done, self.progress.total, counts)
        index_finished(ledger)
        if not goes_on:
            ledger.study.tidy_index()
        ledger.owner.close()
        ledger.close_tracker(130 if counts["interrupted"] else 0)
        print_closing(
            ledger.outcomes,
            states=shown,
            study=ledger.study,
            progress=self.progress,
            wall_time_s=time.monotonic() - started,
            command="" if goes_on else self.submitter.command,
            axes=self.submitter.axes,
            wandb_url=ledger.tracker.url if ledger.tracker else None,
            wandb_folder=ledger.wandb_folder,
        )
        if goes_on:
            study = study_words(ledger.study)
            print(f"next:   python -m memcap.status {study}   # it goes on in Slurm")
            print(f"next:   python -m memcap.cancel {study}   # ends it; what is finished stays")

    def _submit_again(self, tasks: list[PlannedTask]) -> Submitted | None:
        """Submits what is tried again, with patience for a slurmctld that is away; None where it stays away."""
        until, said = time.monotonic() + SUBMIT_AGAIN_S, ""
        while True:
            try:
                return self.submitter.submit(tasks)
            except BadInput as error:
                if str(error) != said:
                    said = str(error)
                    print(f"memcap: {said}; trying again for half an hour", file=sys.stderr)
                if time.monotonic() > until:
                    return None
                time.sleep(SUBMIT_AGAIN_PAUSE_S)

    def _counts(self) -> Counter[str]:
        return Counter(o.status for o in self.ledger.outcomes if not self.ledger.is_open(o.cell))
