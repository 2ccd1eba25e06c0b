"""The mirror of runs in Weights & Biases: one W&B run per memcap run, many at once in one process.

The run folder is the truth and W&B its mirror, so nothing here can end a training: what the client raises
becomes one warning, and the run folder still has every row. Offline, opening a run takes 10 ms in the caller's
thread. Online, opening and finishing wait for a server for longer than a small run trains, so threads do
that, and rows wait in memory until their run is open.

All files lie in ``<folder>/wandb/``. ``wandb`` is imported when a tracker is made, unless it is disabled.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from memcap.errors import BadInput
from memcap.records import wandb_client
from memcap.records.wandb_client import one_line

CLOSE_TIMEOUT_S: Final = 60.0
_THREADS: Final = 16


class WandbTracker:
    """Opens and closes the W&B runs of one study.

    ``mode`` is ``online``, ``offline``, ``disabled``, or ``auto``: online with credentials (WANDB_API_KEY, netrc) and
    a server that takes the first run, else offline. The attribute ``mode`` says which of the three it is now:
    a server that goes away later turns online into offline, with one warning. At most ``max_live`` runs are
    held open; the rows of the others wait in memory and their run is mirrored when it ends. One tracker at a
    time: closing it ends the client's service in this process.

    Raises ``BadInput`` where ``online`` was asked for and there are no credentials, here, or the server does
    not take the first run, in ``start``.
    """

    def __init__(
        self,
        mode: str,
        project: str,
        entity: str | None,
        study: str,
        folder: Path,
        tags: Iterable[str] = (),
        notes: str | None = None,
        max_live: int = 64,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.folder, self.max_live = Path(folder).resolve(), max_live
        self._shared: dict[str, Any] = {
            "project": project, "entity": entity, "group": study, "tags": tuple(tags), "notes": notes
        }  # fmt: skip
        self._warn = warn or (lambda line: print(line, file=sys.stderr))
        self._warned: set[str] = set()
        self._live: dict[str, WandbRun] = {}
        self._refused: list[WandbRun] = []
        self._threads: ThreadPoolExecutor | None = None
        self._demanded = mode == "online"
        self.mode = mode if mode == "disabled" else self._prepare(mode)

    def start(self, run_id: str, config: Mapping[str, Any], name: str) -> WandbRun:
        """Begin the mirror of one run; ``config`` is a plain nested dict, ``name`` what the W&B page shows."""
        run = WandbRun(self, run_id, dict(config), name)
        if self.mode == "disabled":
            return run
        if run_id in self._live:
            self._supersede(self._live[run_id])
        if self.mode == "online" and self._threads is None:
            self._live[run_id] = run
            self._prove(run)
        elif len(self._live) < self.max_live:
            self._live[run_id] = run
            if self._threads is None:
                run.open()
            else:
                run.opening = self._threads.submit(run.open)
        return run

    def close(self, exit_code: int = 0) -> None:
        """Finish the runs that are still open, with this exit code, and wait until all files are whole.

        Bounded: a server that is gone costs 10 s a run, 16 at a time, and 60 s at most; what it did not take
        is in the local files. Runs that did not end and were never opened are dropped.
        """
        for run in list(self._live.values()):
            run.finish({}, exit_code)
        if self._threads is not None:
            closing = [run.closing for run in list(self._live.values()) if run.closing]
            if wait(closing, timeout=CLOSE_TIMEOUT_S).not_done:
                self.warn(f"the server did not take everything within {CLOSE_TIMEOUT_S:.0f} s")
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        released = self.mode != "disabled" and wandb_client.end_service()
        refused = [run for run in self._refused if run.ended is not None]
        if refused and released:
            for run in refused:
                wandb_client.remove_fragment(self.folder, run.run_id, run.started)
                run.refused = False
                run.mirror()
            wandb_client.end_service()
        self._refused.clear()
        self._live.clear()

    def open_client(self, run: WandbRun) -> Any:
        """The client's object for this run; raises whatever the client raises."""
        return wandb_client.open_run(
            self.folder, self.mode, run_id=run.run_id, name=run.name, config=run.config, **self._shared
        )

    def end(self, run: WandbRun) -> None:
        """Mirror what is left of a run that has ended, here or in a thread."""
        if self._threads is None:
            run.mirror()
        else:
            self._live.setdefault(run.run_id, run)  # so that close waits for it
            run.closing = self._threads.submit(run.mirror)

    def refuse(self, run: WandbRun, error: Exception) -> None:
        """The client could not open this run."""
        if self._threads is None:
            self.warn("a run could not be opened", error)
        else:
            # The client does not let go of the id: the run is mirrored when all others are done.
            run.refused, self.mode = True, "offline"
            self._refused.append(run)
            self.forget(run)
            self.warn("the server did not take a run, going on offline", error)

    def forget(self, run: WandbRun) -> None:
        """Let go of a run that is not open any more."""
        if self._live.get(run.run_id) is run:
            self._live.pop(run.run_id, None)

    def warn(self, what: str, error: Exception | None = None) -> None:
        """Say it once per tracker: a server that is away is away for every row of every run."""
        if what not in self._warned:
            self._warned.add(what)
            self._warn(f"W&B: {what}{f': {one_line(error)}' if error else ''} (the run folders are complete)")

    def _supersede(self, run: WandbRun) -> None:
        """End a run whose training begins anew: the client takes its id again only when it is free."""
        abandoned = run.ended is None
        run.finish({}, 1)
        if run.closing is not None:
            wait([run.closing])  # bounded by the client's own timeouts
        if abandoned and run.files is not None and self.mode == "offline":
            # `wandb sync` would put its rows beside those of the run that takes its place.
            shutil.rmtree(run.files, ignore_errors=True)

    def _prepare(self, mode: str) -> str:
        wandb_client.prepare(self.folder)
        if mode == "offline":
            return mode
        missing = wandb_client.missing_credentials()
        if missing and mode == "online":
            raise BadInput(
                f"tracking.mode=online needs W&B credentials, got {missing}; run `wandb login`, set"
                " WANDB_API_KEY, or use tracking.mode=offline"
            )
        return "offline" if missing else "online"

    def _prove(self, run: WandbRun) -> None:
        """Open the first run online in the caller's thread: a server that is away is noticed before training."""
        try:
            run.adopt(self.open_client(run))
        except Exception as error:
            wandb_client.end_service()
            wandb_client.remove_fragment(self.folder, run.run_id, run.started)
            if self._demanded:
                self._live.clear()
                raise BadInput(
                    f"tracking.mode=online: the W&B server did not take run {run.run_id}: {one_line(error)};"
                    " check the network and the credentials, or use tracking.mode=offline"
                ) from error
            self.mode = "offline"
            self.warn("the server did not take the first run, going on offline", error)
            run.open()
        else:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="memcap-wandb")


class WandbRun:
    """The mirror of one run: rows as they are measured, then the summary. Its methods do not raise."""

    def __init__(self, tracker: WandbTracker, run_id: str, config: dict[str, Any], name: str) -> None:
        self.run_id, self.config, self.name = run_id, config, name
        self.started = time.time()
        self.opening: Future[None] | None = None
        self.closing: Future[None] | None = None
        self.refused = False
        self.ended: tuple[dict[str, Any], int] | None = None
        self.files: Path | None = None
        self._tracker = tracker
        self._client: Any = None
        self._rows: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def log(self, row: Mapping[str, Any]) -> None:
        """Mirror one row of the history; it needs ``train/step``, the axis of every chart."""
        if self._tracker.mode == "disabled" or self.ended is not None:
            return
        with self._lock:
            if self._client is None:
                self._rows.append(dict(row))
            else:
                self._send(row)

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Set the summary and end the run: 0 is shown as finished, anything else as failed."""
        if self._tracker.mode != "disabled" and self.ended is None:
            self.ended = (dict(summary), exit_code)
            self._tracker.end(self)

    def open(self) -> None:
        """Open the client's run and send the rows that waited for it."""
        try:
            self.adopt(self._tracker.open_client(self))
        except Exception as error:
            self._tracker.refuse(self, error)

    def adopt(self, client: Any) -> None:
        """Take the client's object of this run, and send it the rows that waited."""
        with self._lock:
            self._client = client
            self.files = Path(client.dir).parent
            for row in self._rows:
                self._send(row)
            self._rows.clear()

    def mirror(self) -> None:
        """Bring a run that has ended to its end in W&B, from whatever point its mirror has reached."""
        if self.opening is not None:
            self.opening.result()  # submitted before this, so it is running or done
        if self._client is None and not self.refused:
            self.open()
        if self._client is not None and self.ended is not None:
            summary, exit_code = self.ended
            try:
                self._client.summary.update(summary)
                self._client.finish(exit_code=exit_code)
            except Exception as error:
                self._tracker.warn("a run could not be finished", error)
            self._client = None
        self._tracker.forget(self)

    def _send(self, row: Mapping[str, Any]) -> None:
        try:
            self._client.log(dict(row))
        except Exception as error:
            self._tracker.warn("a row could not be logged", error)
