"""The alternate screen: entered, refreshed and left, whatever happens."""

import os
import pty
import select
import threading
import time

import pytest

from legodnn.runtime.command.live.terminal import ENTER, LEAVE, Terminal, usable


@pytest.fixture
def ends():
    """The end of a pseudo terminal that a program writes to, as a stream, and the one that shows what was written."""
    shows, writes = pty.openpty()
    with os.fdopen(writes, "w") as stream:
        yield stream, shows
    os.close(shows)


def shown(fd, until):
    data = b""
    while until not in data:
        assert select.select([fd], [], [], 10)[0], data
        data += os.read(fd, 65536)
    return data.decode()


def wait_for_error(terminal):
    until = time.monotonic() + 20
    while terminal.error is None:
        assert time.monotonic() < until


def test_it_draws_until_it_is_left(ends):
    stream, fd = ends
    drawn = threading.Semaphore(0)

    def draw(width, rows):
        drawn.release()
        return ["hello"]

    with Terminal(stream, draw, interval=0.001) as terminal:
        for _ in range(3):
            assert drawn.acquire(timeout=10)
        assert terminal.shown
    assert not terminal.shown
    text = shown(fd, LEAVE.encode())
    assert text.startswith(ENTER + "\x1b[Hhello")
    assert text.endswith(LEAVE)
    assert text.count(ENTER) == text.count(LEAVE) == 1


def test_an_exception_passes_and_the_screen_is_left(ends):
    stream, fd = ends
    with pytest.raises(ValueError, match="mine"), Terminal(stream, lambda *size: ["x"]):
        raise ValueError("mine")
    assert shown(fd, LEAVE.encode()).endswith(LEAVE)


def test_once_left_nothing_is_drawn_any_more(ends):
    stream, fd = ends
    with Terminal(stream, lambda *size: ["x"], interval=0.001) as terminal:
        terminal.leave()
        terminal.leave()
        stream.write("after")
        stream.flush()
    text = shown(fd, b"after")
    assert text.endswith(LEAVE + "after")


def test_a_frame_that_is_ready_too_late_is_not_shown(ends):
    stream, fd = ends
    drawing, left = threading.Event(), threading.Event()

    def draw(width, rows):
        drawing.set()
        assert left.wait(20)
        return ["late"]

    with Terminal(stream, draw) as terminal:
        assert drawing.wait(20)
        terminal.leave()
        left.set()
    stream.write("after")
    stream.flush()
    assert shown(fd, b"after") == ENTER + LEAVE + "after"


def test_what_drawing_raises_is_raised_at_the_end(ends):
    stream, fd = ends

    def draw(width, rows):
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"), Terminal(stream, draw) as terminal:
        wait_for_error(terminal)
    assert shown(fd, LEAVE.encode()).endswith(LEAVE)


def test_a_terminal_that_goes_away_is_an_error_of_the_system():
    shows, writes = pty.openpty()

    def draw(width, rows):
        os.close(shows)
        return ["x"]

    with os.fdopen(writes, "w") as stream, pytest.raises(OSError, match="rror"), Terminal(stream, draw) as terminal:
        wait_for_error(terminal)


def test_where_it_can_be_used(ends, tmp_path):
    stream, _ = ends
    assert usable(stream, {"TERM": "xterm"})
    assert not usable(stream, {"TERM": "dumb"})
    assert not usable(stream, {})
    with open(tmp_path / "file", "w") as file:
        assert not usable(file, {"TERM": "xterm"})
