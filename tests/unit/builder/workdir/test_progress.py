"""Progress: silence for short work, plain lines where there is no terminal, a bar where there is one."""

import pytest

from legodnn.builder.workdir import progress as module
from legodnn.builder.workdir.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def test_short_work_is_silent(capsys, clock):
    with progress("distill", 10) as bar:
        for _ in range(10):
            clock.now += 0.1
            bar.advance()
    assert capsys.readouterr() == ("", "")


def test_long_work_gives_a_line_every_ten_seconds_with_the_time_left(capsys, clock):
    with progress("distill", 100) as bar:
        for _ in range(100):
            clock.now += 1
            bar.advance()
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "distill: 2/100 batch (2%), 01:38 left"
    assert lines[1] == "distill: 12/100 batch (12%), 01:28 left"
    assert lines[-1] == "distill: done in 01:40"
    assert len(lines) == 11


def test_work_that_fails_is_not_called_done(capsys, clock):
    def fail():
        with progress("distill", 10) as bar:
            clock.now += 5
            bar.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert "done" not in capsys.readouterr().err


def test_no_work_at_all(capsys):
    with progress("distill", 0):
        pass
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress("distill", 4) as bar:
        bar._bar.mininterval = 0
        bar.advance(2)
        bar.advance(2)
    err = capsys.readouterr().err
    assert "distill: " in err
    assert "\r" in err
