"""Lines that change in place: on a terminal by rich, in a notebook by IPython's display; nowhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

TERMINAL_PER_S = 8  # drawn by a thread of its own, so that the training never waits for the terminal
NOTEBOOK_EVERY_S = 0.5  # each is a message to the browser
NOTEBOOK_WIDTH = 100


class HasLines(Protocol):
    """What is shown: at most three lines of a given width."""

    def lines(self, width: int, encoding: str | None = None) -> list[str]: ...


def live_view(shown: HasLines) -> TerminalView | NotebookView | None:
    """The view for where stderr goes; None for a file or a pipe."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return TerminalView(shown)
    return NotebookView(shown) if in_notebook() else None


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel, which has no terminal but a page."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class TerminalView:
    """Draws the lines several times per second below what is printed meanwhile."""

    def __init__(self, shown: HasLines) -> None:
        from rich.console import Console
        from rich.live import Live

        self.shown = shown
        self.console = Console(stderr=True, force_jupyter=False)
        self._live = Live(self, console=self.console, refresh_per_second=TERMINAL_PER_S)

    def start(self) -> None:
        self._live.start()

    def refresh(self) -> None:
        """Nothing: the thread looks by itself."""

    def stop(self) -> None:
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        for line in self.shown.lines(options.max_width, console.encoding):
            yield Text(line, no_wrap=True, overflow="crop")


class NotebookView:
    """One output of the cell that is replaced now and then; a saved notebook keeps its last state only."""

    def __init__(self, shown: HasLines) -> None:
        self.shown = shown
        self._handle: Any = None
        self._last_s = -float("inf")

    def start(self) -> None:
        from IPython.display import display

        self._handle = display(self._content(), raw=True, display_id=True)

    def refresh(self) -> None:
        if time.monotonic() - self._last_s >= NOTEBOOK_EVERY_S:
            self._update()

    def stop(self) -> None:
        self._update()

    def _update(self) -> None:
        self._last_s = time.monotonic()
        self._handle.update(self._content(), raw=True)

    def _content(self) -> dict[str, str]:
        return {"text/plain": "\n".join(self.shown.lines(NOTEBOOK_WIDTH, "utf-8"))}
