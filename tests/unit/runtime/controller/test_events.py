"""Every decision is an event: to a callback, to `logging`, as a line of JSON."""

import io
import json
import logging

import pytest

from legodnn.runtime import Budget, Controller, JsonLines
from tests.unit.runtime.controlled import MIDDLE, SMALL, Bench


def test_events_go_to_a_callback_to_logging_and_as_lines_of_json(caplog):
    stream = io.StringIO()
    with caplog.at_level(logging.INFO, "legodnn.controller"):
        bench = Bench(budget=Budget(0.006, 9000.0), json_lines=stream)
        bench.look()
        bench.run(0.005)
        bench.look(Budget(0.001))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["reason"] for line in lines] == bench.reasons == ["start", "infeasible"]
    assert lines == [event.to_plain() for event in bench.events]
    assert set(lines[1]) == {"time", "reason", "detail", "budget", "scale", "old", "new", "predicted", "measured"}
    assert (lines[1]["old"], lines[1]["new"]) == (MIDDLE, SMALL)
    assert lines[1]["measured"] == pytest.approx(0.005)
    assert lines[0]["budget"] == {"seconds": 0.006, "memory_bytes": 9000.0, "slowdown": 1.0}
    assert lines[0]["time"].endswith("+00:00")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "block0 v1 -> v2; predicted 2 ms, 2.44 KiB, accuracy 86.0%; measured before 5 ms" in caplog.text


def test_handlers_that_raise_are_logged_and_do_no_harm(caplog):
    closed = io.StringIO()
    closed.close()
    bench = Bench()
    controller = Controller(bench.optimizer, bench.given, on_event=lambda event: 1 / 0, json_lines=closed)
    assert controller.step().reason == "start"
    assert caplog.text.count("could not be handed") == 2


def test_json_lines_is_a_handler_of_its_own():
    stream, bench = io.StringIO(), Bench()
    Controller(bench.optimizer, bench.given, on_event=JsonLines(stream)).step()
    assert json.loads(stream.getvalue())["reason"] == "start"
