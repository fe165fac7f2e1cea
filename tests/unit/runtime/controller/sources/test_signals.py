"""A signal steps through budgets."""

import os
import signal
import threading

import pytest

from legodnn.runtime import Budget, SignalSteps
from legodnn.runtime.controller.sources import signals
from legodnn.shared.errors import UsageError

BUDGETS = [Budget(0.01), Budget(0.02)]


def test_a_signal_steps_through_budgets():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    source = SignalSteps(BUDGETS)
    source.start()
    try:
        found = [source.read()]
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
            found.append(source.read())
    finally:
        source.stop()
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert found == [BUDGETS[0], BUDGETS[1], BUDGETS[0]]
    assert seen == [signal.SIGUSR1]


def test_signals_that_cannot_be_listened_to_are_refused(monkeypatch):
    with pytest.raises(UsageError, match="no budgets"):
        SignalSteps([])
    with pytest.raises(UsageError, match="cannot be listened to"):
        SignalSteps(BUDGETS, signal.SIGKILL).start()
    refused = []

    def elsewhere():
        try:
            SignalSteps(BUDGETS).start()
        except UsageError as error:
            refused.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "main thread" in refused[0]
    monkeypatch.setattr(signals, "STEP_SIGNAL", None)
    with pytest.raises(UsageError, match="no SIGUSR1"):
        SignalSteps(BUDGETS)
