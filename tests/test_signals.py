"""Signals are raised where nothing is lost by it, and noted where there is something to save."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

import pytest

from memcap.errors import Interrupted
from memcap.interruption import Signals, heard

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


def test_a_stop_is_raised_at_once_where_nothing_is_to_be_saved() -> None:
    with heard(), pytest.raises(Interrupted, match="SIGTERM"):
        os.kill(os.getpid(), signal.SIGTERM)
    with heard(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_is_noted_first_and_raised_the_second_time() -> None:
    with heard() as signals:
        signals.defer()
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.wants_stop
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signals.raise_stop()


def test_what_was_noted_is_raised_when_there_is_nothing_to_save_any_more() -> None:
    def stop_while_it_trains(error: BaseException, failure: Exception | None) -> None:
        signals = Signals()
        with signals.no_longer_deferred():
            signals.defer()
            signals.ask_to_stop(error)
            if failure is not None:
                raise failure  # the run is tried again; a stop must not be lost

    with pytest.raises(KeyboardInterrupt):
        stop_while_it_trains(KeyboardInterrupt(), None)
    with pytest.raises(Interrupted):
        stop_while_it_trains(Interrupted("SIGTERM"), ValueError("no"))
    signals = Signals()
    with signals.no_longer_deferred():
        signals.defer()
    with pytest.raises(KeyboardInterrupt):
        signals.ask_to_stop(KeyboardInterrupt())


@pytest.mark.parametrize("usr2_stops", [False, True])
def test_usr2_saves_or_stops(usr2_stops: bool) -> None:
    with heard(usr2_stops=usr2_stops) as signals:
        signals.defer()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert (signals.wants_save, signals.wants_stop) == (not usr2_stops, usr2_stops)


def test_handlers_are_put_back_and_those_of_others_stay() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with heard():
        assert all(signal.getsignal(number) not in before for number in NUMBERS)
    assert [signal.getsignal(number) for number in NUMBERS] == before
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup does
    try:
        with heard():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before[0])


def test_outside_of_the_main_thread_nothing_is_heard() -> None:
    found: list[bool] = []

    def listen() -> None:
        before = [signal.getsignal(number) for number in NUMBERS]
        with heard():
            found.append([signal.getsignal(number) for number in NUMBERS] == before)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [True]


def test_a_stop_that_somebody_swallowed_is_raised_when_the_training_looks_up() -> None:
    """As an import of compiled code does, which makes an ImportError of whatever interrupts it."""
    signals = Signals()
    with contextlib.suppress(KeyboardInterrupt):
        signals.ask_to_stop(KeyboardInterrupt())
    assert signals.wants_stop
    signals.defer()
    with pytest.raises(KeyboardInterrupt):
        signals.raise_stop()
