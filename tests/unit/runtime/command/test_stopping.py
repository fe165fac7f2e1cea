"""Signals: noted while something is being finished, raised while nothing is, and at once the second time."""

import os
import signal
import subprocess
import sys

import pytest

from legodnn.runtime.command.stopping import StopAsked, Stopping

HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


@pytest.fixture(autouse=True)
def handlers():
    """Python's own to start with, whatever the tests were started from, and afterwards what was there before."""
    before = {number: signal.getsignal(number) for number in HANDLERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def test_sigterm_while_waiting_ends_the_context():
    passed = []
    with Stopping() as stopping:
        send(signal.SIGTERM)
        passed.append("not reached")
    assert passed == []
    assert stopping.asked == signal.SIGTERM


def test_ctrl_c_while_waiting_is_an_interruption():
    with pytest.raises(KeyboardInterrupt), Stopping():
        send(signal.SIGINT)


@pytest.mark.parametrize("number", list(HANDLERS))
def test_what_is_being_finished_is_not_disturbed(number):
    finished = []

    def run():
        with Stopping() as stopping, stopping.finishing():
            send(number)
            finished.append(stopping.asked)

    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
    assert finished == [number]


def test_asking_is_no_error_that_could_be_handled():
    with Stopping() as stopping:
        try:
            send(signal.SIGTERM)
        except Exception:
            pytest.fail("taken for an error")
    assert stopping.asked == signal.SIGTERM
    assert not issubclass(StopAsked, Exception)


def test_errors_pass():
    with pytest.raises(ValueError, match="wrong"), Stopping():
        raise ValueError("wrong")


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = signal.getsignal(signal.SIGTERM)
    with Stopping():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not before
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


TWICE = """
import signal, time
from legodnn.runtime.command.stopping import Stopping
signal.signal(signal.SIGINT, signal.default_int_handler)
with Stopping() as stopping, stopping.finishing():
    print("busy", flush=True)
    while stopping.asked is None:
        time.sleep(0.01)
    print("asked", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("second", list(HANDLERS))
def test_a_second_signal_ends_at_once(second):
    with subprocess.Popen([sys.executable, "-c", TWICE], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"busy\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"asked\n"
        process.send_signal(second)
        assert process.wait() == -second
