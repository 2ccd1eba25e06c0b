"""What a person sees while a sweep trains: a live view on a terminal or in a notebook, sparse lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from memcap.records.sparkline import blocks_for
from memcap.records.training_view import PackView, view_lines

LINE_EVERY_S = 30.0  # without a terminal (a log file, a batch job) one line this often
ENOUGH_S = 5.0  # of training, before a rate foretells its end: the first steps compile and warm up
ENOUGH_SHARE = 0.1  # or so much of it


class LiveView(Protocol):
    """Where three lines stand that change in place."""

    def start(self) -> None: ...

    def refresh(self) -> None:
        """Something has changed; may be called thousands of times per second."""

    def stop(self) -> None: ...


class Progress:
    """Counts member-steps and endings, and keeps the rows of the pack that trains for its curve; all on stderr."""

    def __init__(self, total_member_steps: int, num_cells: int, *, quiet: bool = False) -> None:
        self.total = total_member_steps
        self.done = 0
        self.num_cells = num_cells
        self.counts: Counter[str] = Counter()
        self.tasks = ""  # of other processes: how many of their tasks run
        self.quiet = quiet
        self.started = self.last_line = self.began = time.monotonic()
        self.ended: float | None = None
        self.pack = PackView(0)
        self._view: LiveView | None = None

    def __enter__(self) -> Progress:
        if not self.quiet and self.total:
            from memcap.records.live_view import live_view

            self._view = live_view(self)
            if self._view is not None:
                self._view.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended = time.monotonic()
        if self._view is not None:
            self.pack = PackView(0)  # what stays on the screen is the line that counts
            with contextlib.suppress(Exception):
                self._view.stop()
            self._view = None

    def begin(self, num_members: int) -> None:
        """A pack of so many runs starts to train."""
        self.pack = PackView(num_members)
        self._refresh()

    def show(self, member: int, row: Mapping[str, Any]) -> None:
        """A measurement of one of its runs."""
        self.pack.add(member, row)
        self._refresh()

    def advance(self, member_steps: int, skipped: int = 0) -> None:
        """So many member-steps were trained, and so many will not be, since members ended early."""
        self.done += member_steps
        self.total -= skipped
        self._refresh()

    def tell(self, done: int, total: int, counts: Counter[str]) -> None:
        """What other processes have done, in all; as long as that is nothing, they wait to begin."""
        if done == 0:
            self.began = time.monotonic()
        self.done, self.total, self.counts = done, total, counts
        self._refresh()

    def count(self, status: str, number: int = 1) -> None:
        """One more run is finished, skipped, diverged or failed."""
        self.counts[status] += number
        self._refresh()

    def rate_per_s(self) -> float:
        """Member-steps per second from the start to the end of the training; what W&B takes to close is no part."""
        return self.done / max((self.ended or time.monotonic()) - self.started, 1e-9)

    def left_s(self) -> float | None:
        """Seconds until all is trained, at the rate since training began; None while that says little."""
        spent = (self.ended or time.monotonic()) - self.began
        if self.done <= 0 or (spent < ENOUGH_S and self.done < ENOUGH_SHARE * self.total):
            return None
        return (self.total - self.done) * spent / self.done

    def summary(self) -> str:
        """'12 finished, 3 skipped', in a fixed order; only what there is."""
        order = ("finished", "skipped", "diverged", "failed", "running", "queued", "interrupted")
        return ", ".join(f"{self.counts[name]} {name}" for name in order if self.counts[name]) or "0 finished"

    def standing(self) -> str:
        """'3 finished of 12', and the tasks that train them where there are any."""
        return ", ".join(filter(None, (f"{self.summary()} of {self.num_cells}", self.tasks)))

    def lines(self, width: int, encoding: str | None = None) -> list[str]:
        """What a live view shows, at most three lines that fit ``width``."""
        return view_lines(
            self.pack,
            share=self.done / max(self.total, 1),
            elapsed_s=time.monotonic() - self.started,
            left_s=self.left_s(),
            rate=f"{si(self.rate_per_s())} member-steps/s",
            counts=self.standing(),
            width=width,
            blocks=blocks_for(encoding),
        )

    def _refresh(self) -> None:
        """A screen that is gone (``2>&1 | head``, a notebook without its page) ends no training."""
        try:
            self._draw()
        except Exception:
            self._view, self.quiet = None, True

    def _draw(self) -> None:
        if self._view is not None:
            self._view.refresh()
        elif not self.quiet and time.monotonic() - self.last_line > LINE_EVERY_S:
            self.last_line = time.monotonic()
            left = f" {left_s:.0f} s left," if (left_s := self.left_s()) is not None else ""
            print(
                f"memcap: {self.done / max(self.total, 1):.0%}, {si(self.rate_per_s())} member-steps/s,"
                f"{left} {self.standing()}",
                file=sys.stderr,
                flush=True,
            )


def counted(number: int, thing: str) -> str:
    """'1 task', '2 tasks'."""
    return f"{number} {thing}" + "s" * (number != 1)


def si(value: float) -> str:
    """A number with three digits and a prefix: 12.3k, 4.56M."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"
