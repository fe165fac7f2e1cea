"""A function says what there is, whatever it does."""

import threading

import pytest

from legodnn.runtime import Budget, Callback


def workers():
    return [t for t in threading.enumerate() if t.name == "legodnn-budget"]


def test_a_callback_is_asked_at_every_look_in_another_thread():
    asked = []

    def budget():
        asked.append(threading.current_thread().name)
        return Budget(0.01 * len(asked))

    source = Callback(budget, timeout=30)
    assert [source.read().seconds, source.read().seconds] == [0.01, 0.02]
    assert asked == ["legodnn-budget"] * 2
    assert source.trouble is None


@pytest.mark.parametrize(("answer", "trouble"), [
    (RuntimeError("no idea"), "Callback raised RuntimeError: no idea"), (SystemExit(1), "SystemExit"),
    (0.01, "returned float, not Budget"),
])  # fmt: skip
def test_the_last_good_answer_of_a_callback_holds(answer, trouble):
    answers = [Budget(0.01), answer, Budget(0.02)]

    def budget():
        value = answers.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    source = Callback(budget, timeout=30)
    assert source.read() == Budget(0.01)
    assert source.read() == Budget(0.01)
    assert trouble in source.trouble
    assert source.read() == Budget(0.02)
    assert source.trouble is None


def test_a_hanging_callback_blocks_one_look_and_no_more_and_is_one_thread():
    release, calls = threading.Event(), []

    def budget():
        calls.append(1)
        if len(calls) == 2:
            release.wait()
            return Budget(0.5)
        return Budget(0.1 * len(calls))

    source = Callback(budget, timeout=0.05)
    source._timeout = 30
    assert source.read().seconds == 0.1
    source._timeout = 0.001
    troubles = {(source.read().seconds, source.trouble) for _ in range(1000)}
    assert len(troubles) == 1
    assert "has not returned within 0.001 s" in troubles.pop()[1]
    assert len(calls) == 2
    assert len(workers()) == 1
    source._timeout = 30
    release.set()
    for worker in workers():
        worker.join()
    assert source.read().seconds == pytest.approx(0.3)
    assert source.trouble is None


def test_what_a_late_callback_said_counts_until_the_next_answer():
    release, calls = threading.Event(), []

    def budget():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("gone")
        release.wait()
        return Budget(0.5)

    source = Callback(budget, timeout=0.001)
    assert source.read() == Budget()
    [worker] = workers()
    release.set()
    worker.join()
    source._timeout = 30
    assert source.read() == Budget(0.5)
    assert "gone" in source.trouble
