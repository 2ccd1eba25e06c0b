"""Signals that ask a sweep to stop or to save, heard where nothing is lost by it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from memcap.errors import Interrupted

Handler = Callable[[int, FrameType | None], None]


class Signals:
    """What signals have asked for.

    A stop (Ctrl-C, SIGTERM) is raised at once where nothing is lost by it, as an exception. While populations train
    (``defer``) it is noted, for the training to save itself before it raises it; a second one is raised at once.
    """

    def __init__(self) -> None:
        self.wants_save = False
        self._stop: BaseException | None = None
        self._is_deferred = False

    @property
    def wants_stop(self) -> bool:
        return self._stop is not None

    def ask_to_stop(self, error: BaseException) -> None:
        """Raises the error, or notes it where stops are deferred and this is the first one.

        It is noted in any case: code that is interrupted can swallow an exception (an import of compiled code makes
        an ImportError of it), and then the stop is raised when the training looks up.
        """
        is_second = self._stop is not None
        self._stop = self._stop or error
        if is_second or not self._is_deferred:
            raise error

    def ask_to_save(self) -> None:
        self.wants_save = True

    def raise_stop(self) -> None:
        """Raises the stop that was noted, if there is one."""
        if self._stop is not None:
            raise self._stop

    def defer(self) -> None:
        """From now on there is something to save: stops are noted."""
        self._is_deferred = True

    @contextlib.contextmanager
    def no_longer_deferred(self) -> Iterator[None]:
        """At its end stops are raised at once again, and also one that was noted, if need be instead of an error."""
        try:
            yield
        finally:
            self._is_deferred = False
            self.raise_stop()


@contextlib.contextmanager
def heard(*, usr2_stops: bool = False) -> Iterator[Signals]:
    """What Ctrl-C, SIGTERM and SIGUSR2 ask for while it lasts; outside the main thread nobody can listen.

    SIGUSR2 saves, or stops as SIGTERM does. A Ctrl-C that somebody else handles, or that is ignored, stays theirs.
    """
    signals = Signals()
    before: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number, handler in _handlers(signals, usr2_stops).items():
            before[number] = signal.signal(number, handler)
    try:
        yield signals
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)  # type: ignore[arg-type]


def _handlers(signals: Signals, usr2_stops: bool) -> dict[int, Handler]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.ask_to_stop(KeyboardInterrupt())

    def stop(number: int, frame: FrameType | None) -> None:
        signals.ask_to_stop(Interrupted(signal.Signals(number).name))

    def save(number: int, frame: FrameType | None) -> None:
        signals.ask_to_save()

    handlers: dict[int, Handler] = {signal.SIGTERM: stop}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = interrupt
    if hasattr(signal, "SIGUSR2"):  # not on Windows
        handlers[signal.SIGUSR2] = stop if usr2_stops else save
    return handlers
