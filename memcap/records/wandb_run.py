"""The mirror of one run in W&B: its rows as they are measured, its charts and summary at the end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, Protocol

from memcap.records.wandb_client import refused_rows
from memcap.records.wandb_earlier import EarlierRun

Charts = Callable[[], Mapping[str, Any]]
SERVER: Final = "server"  # of warnings: all trouble with the server is one


class Tracker(Protocol):
    """What a mirror needs of the tracker that made it."""

    stopping: bool

    @property
    def mode(self) -> str: ...
    def open_client(self, run: WandbRun) -> Any: ...
    def end(self, run: WandbRun) -> None: ...
    def refuse(self, run: WandbRun, error: Exception) -> None: ...
    def forget(self, run: WandbRun) -> None: ...
    def warn(self, what: str, error: Exception | None = None, kind: str | None = None) -> None: ...
    def upload_failed(self, reason: str) -> None: ...


class WandbRun:
    """The mirror of one run: rows as they are measured, then the summary. Its methods do not raise.

    ``own_id`` is its id in W&B unless an ``earlier`` W&B run goes on, ``key`` what the tracker knows it by, and
    ``record`` says where it is, for the run's result.
    """

    def __init__(
        self,
        tracker: Tracker,
        key: str,
        own_id: str,
        config: dict[str, Any],
        name: str,
        record: dict[str, Any],
    ) -> None:
        self.key, self.own_id, self.config, self.name, self.record = key, own_id, config, name, record
        self.earlier: EarlierRun | None = None
        self.step_there = -math.inf  # of the last row that the server has already
        self.mode: str | None = None  # in which it was, or is to be opened
        self.started = time.time()
        self.opening: Future[None] | None = None
        self.closing: Future[None] | None = None
        self.refused = False
        self.ended: tuple[dict[str, Any], int] | None = None
        self.files: Path | None = None
        self._charts: Charts | None = None
        self._tracker = tracker
        self._client: Any = None
        self._rows: list[dict[str, Any]] = []
        self._last_row: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def run_id(self) -> str:
        """The id in W&B."""
        return str(self.record["id"])

    def go_on_after(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Begin with the rows that an earlier attempt has measured, where None is what was not finite."""
        self._rows = [{key: math.nan if v is None else v for key, v in row.items()} for row in rows]

    def take_the_place_of(self, earlier: EarlierRun, record: dict[str, Any]) -> None:
        """Go on as this W&B run: rows that the server has are not sent again, files on this disk are replaced."""
        self.earlier, self.record = earlier, record

    def leave_earlier(self, record: dict[str, Any]) -> None:
        """Be a W&B run of its own after all, with all rows."""
        self.earlier, self.record, self.step_there = None, record, -math.inf

    def log(self, row: Mapping[str, Any]) -> None:
        """Mirror one row of the history; it needs the axis of every chart (``train/step``)."""
        if self._tracker.mode == "disabled" or self.ended is not None:
            return
        with self._lock:
            if self._client is None:
                self._rows.append(dict(row))
                return
        self._send(row)  # outside the lock: a table waits for the server

    def finish(self, summary: Mapping[str, Any], exit_code: int, charts: Charts | None = None) -> None:
        """Set the summary and end the run: 0 is shown as finished, anything else as failed.

        ``charts`` makes what is logged with the last row; it is called when the run is mirrored, perhaps in a thread.
        """
        if self._tracker.mode != "disabled" and self.ended is None:
            self._charts = charts
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
        if self.earlier is not None and (left := self.earlier.remove_files(self.files)):
            self._tracker.warn(
                f"{left[0]} could not be removed; its rows are in {self.files}, do not upload both"
            )

    def mirror(self) -> None:
        """Bring a run that has ended to its end in W&B, from whatever point its mirror has reached."""
        if self.opening is not None:
            self.opening.result()  # submitted before this, so it is running or done
        if self._client is None and self._tracker.stopping:
            return
        if self._client is None and not self.refused:
            self.open()
        if self._client is not None and self.ended is not None:
            self._finish(*self.ended)
            self._client = None
        self._tracker.forget(self)

    def _finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        try:
            self._client.summary.update(summary)  # before the charts: they wait for the server
            self._log_charts()
            self._client.finish(exit_code=exit_code)
        except TimeoutError:
            self._tracker.upload_failed("the server did not take the end of a run in time")
        except Exception as error:
            self._say("a run could not be finished", error)
        else:
            if self.mode == "online" and self.files and (reason := refused_rows(self.files)):
                self._tracker.upload_failed(f"the server did not take rows: {reason}")

    def _log_charts(self) -> None:
        if self._charts is None or (self.mode == "online" and self._tracker.mode == "offline"):
            return
        try:
            charts = self._charts()
            axis = {name: self._last_row[name] for name in ("train/step",) if name in self._last_row}
            if charts:
                self._client.log({**axis, **charts})
        except Exception as error:
            self._say("a chart could not be logged", error)
        self._charts = None  # it holds arrays

    def _say(self, what: str, error: Exception) -> None:
        # What fails online is one more sign of the trouble with the server, which is said once.
        online = self.mode == "online"
        if not (online and self._tracker.mode == "offline"):
            self._tracker.warn(what, error, kind=SERVER if online else None)

    def _send(self, row: Mapping[str, Any]) -> None:
        self._last_row = dict(row)
        if row.get("train/step", math.inf) <= self.step_there:
            return
        try:
            self._client.log(dict(row))
        except Exception as error:
            self._say("a row could not be logged", error)
