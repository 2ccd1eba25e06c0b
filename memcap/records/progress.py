"""What a person sees while a sweep trains: one bar, and lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import Any

LINE_EVERY_S = 30.0  # without a terminal (a log file, a batch job) one line this often


class Progress:
    """Counts member-steps and endings; a live bar on a terminal, sparse lines elsewhere; all on stderr."""

    def __init__(self, total_member_steps: int, num_cells: int, *, quiet: bool = False) -> None:
        self.total = total_member_steps
        self.done = 0
        self.num_cells = num_cells
        self.counts: Counter[str] = Counter()
        self.quiet = quiet
        self.started = self.last_line = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet and self.total and sys.stderr.isatty():
            self._bar, self._task = _live_bar(self.total)
            self._bar.start()
            self._refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._refresh()
            self._bar.stop()
            self._bar = None

    def advance(self, member_steps: int, skipped: int = 0) -> None:
        """So many member-steps were trained, and so many will not be, since members ended early."""
        self.done += member_steps
        self.total -= skipped
        self._refresh()

    def count(self, status: str, number: int = 1) -> None:
        """One more run is finished, skipped, diverged or failed."""
        self.counts[status] += number
        self._refresh()

    def rate_per_s(self) -> float:
        """Member-steps per second since the start."""
        return self.done / max(time.monotonic() - self.started, 1e-9)

    def summary(self) -> str:
        """'12 finished, 3 skipped', in a fixed order; only what there is."""
        order = ("finished", "skipped", "diverged", "failed", "interrupted")
        return ", ".join(f"{self.counts[name]} {name}" for name in order if self.counts[name]) or "0 finished"

    def _refresh(self) -> None:
        if self._bar is not None:
            text = f"{si(self.rate_per_s())} member-steps/s  {self.summary()} of {self.num_cells}"
            self._bar.update(self._task, completed=self.done, total=max(self.total, 1), counts=text)
        elif not self.quiet and time.monotonic() - self.last_line > LINE_EVERY_S:
            self.last_line = time.monotonic()
            left_s = (self.total - self.done) / max(self.rate_per_s(), 1e-9)
            print(
                f"memcap: {self.done / max(self.total, 1):.0%}, {si(self.rate_per_s())} member-steps/s,"
                f" {left_s:.0f} s left, {self.summary()} of {self.num_cells}",
                file=sys.stderr,
                flush=True,
            )


def si(value: float) -> str:
    """A number with three digits and a prefix: 12.3k, 4.56M."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def _live_bar(total: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("memcap"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=Console(stderr=True),
    )
    return bar, bar.add_task("train", total=total, counts="")
