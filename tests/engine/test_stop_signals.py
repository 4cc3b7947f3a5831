"""SIGTERM and SIGUSR1 become a flag, and what handled them before is put back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from seatools.engine.stop_signals import EndOnSignal, StopSignals
from seatools.streams.errors import Preempted, SeaError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_is_noted_and_a_second_changes_nothing(number: signal.Signals) -> None:
    before = [signal.getsignal(caught) for caught in (signal.SIGTERM, signal.SIGUSR1)]
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received == number.name
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == number.name
    assert [signal.getsignal(caught) for caught in (signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as Python has it; in the background of a script it is inherited as ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_an_interrupt_stays_an_interrupt_and_handlers_come_back_after_an_error(interruptible: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        # Another thread may be the one that the kernel interrupts: the main one would sleep through it in pause().
        for _ in range(1000):
            time.sleep(0.01)
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_nothing_is_caught() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with StopSignals() as signals:
            seen.append((signal.getsignal(signal.SIGTERM), signals.received))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_outside_the_steps_a_signal_ends_the_run_and_nobody_takes_it_for_a_bad_record(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Preempted, match=f"stopped by {number.name}") as caught, EndOnSignal():
        for _ in range(3):
            try:
                os.kill(os.getpid(), number)
            except (SeaError, ValueError, OSError, RuntimeError):
                pytest.fail("taken for an error of the work")
    assert caught.value.exit_code == 75 and signal.getsignal(number) == before


def test_within_the_steps_the_flag_is_raised_instead() -> None:
    with EndOnSignal(), StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
