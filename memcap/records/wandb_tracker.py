"""The mirror of a study in Weights & Biases: one W&B run per memcap run, many at once in one process.

The run folder is the truth and W&B its mirror, so nothing here can end a training: what the client raises
becomes one warning, and the run folder still has every row. Offline, opening a run takes 10 ms in the caller's
thread. Online, opening and finishing wait for a server for longer than a small run trains, so threads do
that, and rows wait in memory until their run is open.

All files lie in ``<folder>/wandb/``. ``wandb`` is imported when a tracker is made, unless it is disabled.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from memcap.config.schema import TrackingConfig
from memcap.errors import BadInput, Interrupted
from memcap.records import wandb_client
from memcap.records.wandb_client import one_line
from memcap.records.wandb_earlier import EarlierRun
from memcap.records.wandb_run import SERVER, WandbRun
from memcap.records.wandb_session import WandbSession

CLOSE_TIMEOUT_S: Final = 15.0  # in all, whatever the server does and however many runs there are
_UPLOAD_S: Final = 9.5  # of it, for the server; the rest is for the files of what it did not take
_BACKLOG: Final = 64  # runs that have ended and wait for the server


class WandbTracker:
    """Opens and closes the W&B runs of one study.

    The attribute ``mode`` is ``online``, ``offline`` or ``disabled``; ``auto`` becomes online with credentials
    (WANDB_API_KEY, netrc) and a server that answers within 5 s, else offline. A server that goes away later turns
    online into offline, with one warning. At most ``max_live`` runs are held open; the rows of the others wait in
    memory and their run is mirrored when it ends. Where the server is slower than the training, runs are mirrored
    offline instead of waiting. One tracker at a time: closing it ends the client's service in this process.

    Raises ``BadInput``, here or in ``start`` of the first run, with nothing left behind: a folder that cannot be
    written, values or a key that the client refuses, an entity or project that the server refuses; and where
    ``online`` was asked for, no credentials or no server.
    """

    def __init__(
        self,
        tracking: TrackingConfig,
        study: str,
        folder: Path,
        *,
        agent_run_id: str | None = None,
        axis: str = "train/step",
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._session = WandbSession(tracking, study, folder, agent_run_id, axis)
        self.max_live, self._agent_run_id = tracking.max_live, agent_run_id
        self._warn = warn or (lambda line: print(line, file=sys.stderr))
        self._warned: set[str] = set()
        self._live: dict[str, WandbRun] = {}
        self._refused: list[WandbRun] = []
        self._leaving: list[WandbRun] = []  # given up by their training, not yet by the server
        self._interrupted: list[WandbRun] = []  # while they were opened
        self._threads: ThreadPoolExecutor | None = None
        self.stopping = False  # no thread opens a run any more
        if self.mode != "disabled":
            self._session.prepare()
            if self._session.trouble:
                self.lose_server(self._session.trouble)

    @property
    def mode(self) -> str:
        """``online``, ``offline`` or ``disabled``, now."""
        return self._session.mode

    @property
    def url(self) -> str | None:
        """The project's page on the server; None where all runs are offline runs."""
        return self._session.url

    @property
    def folder(self) -> Path:
        """What holds ``wandb/``."""
        return self._session.folder

    def start(
        self,
        run_id: str,
        config: Mapping[str, Any],
        name: str,
        *,
        wandb_id: str | None = None,
        rows_before: Sequence[Mapping[str, Any]] | None = None,
        earlier: EarlierRun | None = None,
    ) -> WandbRun:
        """Begin the mirror of one run; ``config`` is a plain nested dict, ``name`` what the W&B page shows.

        ``wandb_id`` is its id in W&B, where that is not the run's own. ``rows_before``: the training continues after
        these rows (None: it starts anew). Then the W&B run ``earlier`` goes on where no row of it would be repeated;
        else all rows go to a run of this ``wandb_id``.
        """
        self.discard(run_id)
        wandb_id = self._agent_run_id or wandb_id or run_id
        run = WandbRun(self, run_id, wandb_id, dict(config), name, self._session.record(wandb_id))
        if rows_before is not None:
            run.go_on_after(rows_before)
            if earlier is not None and self._session.can_go_on(earlier):
                run.take_the_place_of(earlier, self._session.record(earlier.wandb_id))
        if self.mode == "disabled":
            return run
        try:
            self._begin(run)
        except (KeyboardInterrupt, Interrupted):
            # The client does not let go of the id, and what it began is no run.
            self.forget(run)
            self._interrupted.append(run)
            raise
        return run

    def _begin(self, run: WandbRun) -> None:
        """Open a run, here or in a thread, or leave it for its end where enough are open."""
        if self.mode == "online" and self._threads is None:
            self._live[run.key] = run
            self._prove(run)
        elif len(self._live) < self.max_live:
            self._live[run.key] = run
            if self._threads is None:
                run.open()
            else:
                run.opening = self._threads.submit(run.open)

    def discard(self, run_id: str) -> bool:
        """End a run whose training begins anew; True if nothing is left of it, so that its id is free."""
        run = self._live.get(run_id)
        if run is None:
            return False
        abandoned = run.ended is None
        run.finish({}, 1)
        if run.closing is not None:
            self._leaving.append(run)
            if self.mode == "offline":
                wait([run.closing], timeout=CLOSE_TIMEOUT_S)
        if abandoned and run.files is not None and run.files.name.startswith("offline-"):
            # `wandb sync` would put its rows beside those of the run that takes its place.
            shutil.rmtree(run.files, ignore_errors=True)
            return True
        return False

    def close(self, exit_code: int = 0) -> None:
        """Finish the runs that are still open, with this exit code, and wait until all files are whole.

        Takes 15 s at most, whatever the server does. What it did not take is in the local files. Runs that did not
        end and were never opened are dropped.
        """
        if self.mode == "disabled":
            return
        started = time.monotonic()
        for run in list(self._live.values()):
            run.finish({}, exit_code)
        runs = [run for run in [*self._live.values(), *self._leaving] if run.closing is not None]
        if self._threads is not None:
            self._finish_uploads(self._threads, runs)
            self._threads = None
            if wandb_client.end_service():
                self._mirror_left([*runs, *self._refused], started + CLOSE_TIMEOUT_S - 1.0)
        wandb_client.end_service()
        for run in self._interrupted:
            wandb_client.remove_fragment(self.folder, run.run_id, run.started)
        for runs in (self._refused, self._leaving, self._interrupted):
            runs.clear()
        self._live.clear()

    def open_client(self, run: WandbRun) -> Any:
        """The client's object for this run; raises whatever the client raises."""
        run.mode = run.mode or self.mode
        return self._session.open_client(run, run.mode)

    def end(self, run: WandbRun) -> None:
        """Mirror what is left of a run that has ended, here or in a thread."""
        if self._threads is None:
            run.mirror()
            return
        if run.opening is None and not run.refused and run.files is None and self._backlog() >= _BACKLOG:
            run.mode = "offline"
            self.warn("the server is slower than the training: some runs are offline runs", kind=SERVER)
            run.mirror()
            return
        self._live.setdefault(run.key, run)  # so that close waits for it
        run.closing = self._threads.submit(run.mirror)

    def refuse(self, run: WandbRun, error: Exception) -> None:
        """The client could not open this run."""
        if self._threads is None or run.mode == "offline":
            self.warn("a run could not be opened", error)
        else:
            # The client does not let go of the id: the run is mirrored when all others are done.
            run.refused = True
            self._refused.append(run)
            self.forget(run)
            self.lose_server("the server did not take a run", error)

    def forget(self, run: WandbRun) -> None:
        """Let go of a run that is not open any more."""
        if self._live.get(run.key) is run:
            self._live.pop(run.key, None)

    def upload_failed(self, reason: str) -> None:
        """The server did not take all of a run: if it does not answer either, the next runs are offline runs."""
        trouble = self._session.trouble_now(timeout_s=2.0)
        if trouble:
            self.lose_server(trouble)
        else:
            self.warn(f"{reason}; what it lacks is in {self.folder / 'wandb'}, for `wandb sync`", kind=SERVER)

    def lose_server(self, reason: str, error: Exception | None = None) -> None:
        """From now on runs are offline runs."""
        self._session.mode = "offline"
        self.warn(f"going on offline: {reason}", error, kind=SERVER)

    def warn(self, what: str, error: Exception | None = None, kind: str | None = None) -> None:
        """Say it once per tracker: a server that is away is away for every row of every run."""
        if (kind or what) not in self._warned:
            self._warned.add(kind or what)
            with suppress(OSError, ValueError):  # whoever read stderr is gone
                self._warn(
                    f"W&B: {what}{f': {one_line(error)}' if error else ''} (the run folders are complete)"
                )

    def _finish_uploads(self, threads: ThreadPoolExecutor, runs: list[WandbRun]) -> None:
        """Wait for the threads as long as that may take; afterwards nothing is begun in them any more."""
        deadline = time.monotonic() + _UPLOAD_S
        closing = [run.closing for run in runs if run.closing is not None]
        if wait(closing, timeout=1.0).not_done and (trouble := self._session.trouble_now(2.0)):
            self.lose_server(trouble)  # what has not begun is not tried online
        if wait(closing, timeout=deadline - time.monotonic()).not_done:
            self.lose_server(f"the server did not take everything within {_UPLOAD_S:.0f} s")
        self.stopping = True
        threads.shutdown(wait=False, cancel_futures=True)
        wait([future for future in closing if not future.done()], timeout=0.5)
        # What is written to files only needs no server, just a moment on a busy machine.
        wait([run.closing for run in runs if run.closing is not None and run.mode == "offline"], timeout=2.0)

    def _backlog(self) -> int:
        return sum(run.closing is not None for run in list(self._live.values()))

    def _mirror_left(self, runs: list[WandbRun], deadline: float) -> None:
        """Write the runs that the server never took as offline runs, as many as there is time for."""
        self.stopping = False
        for run in runs:
            if run.ended is None or run.files is not None or not (run.refused or run.closing):
                continue
            if run.closing is not None and not run.closing.done():
                continue  # a thread still has it
            if time.monotonic() > deadline:
                self.warn("there was no time to mirror the last runs")
                return
            wandb_client.remove_fragment(self.folder, run.run_id, run.started)
            run.refused, run.opening, run.mode = False, None, "offline"
            run.mirror()

    def _prove(self, run: WandbRun) -> None:
        """Open the first run online in the caller's thread: a server that is away is noticed before training."""
        try:
            run.adopt(self.open_client(run))
        except Exception as error:
            wandb_client.end_service()
            wandb_client.remove_fragment(self.folder, run.run_id, run.started)
            # A server that is in trouble lets the client try until its time is over.
            refused = not re.search("tim(ed|e)[- ]?out", str(error)) and not self._session.trouble_now(2.0)
            if self._session.demanded or refused:
                self._live.clear()
                self._session.leave_nothing()
                raise BadInput(
                    f"tracking: the W&B server takes no run into {self._session.place}: {one_line(error)};"
                    " check tracking.project, tracking.entity and the API key, or use tracking.mode=offline"
                ) from error
            self.lose_server("the server did not take the first run", error)
            run.mode = "offline"
            run.open()
        else:
            self._threads = ThreadPoolExecutor(max(16, self.max_live), thread_name_prefix="memcap-wandb")
