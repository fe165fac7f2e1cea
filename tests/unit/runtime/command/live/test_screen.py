"""Frames of the live view as text: what they show, and that they fit."""

import dataclasses
import re

import pytest

from legodnn.runtime.command.live.glyphs import ASCII, UNICODE, columns, glyphs_for, line
from legodnn.runtime.command.live.screen import Screen, text_of
from legodnn.runtime.command.live.view import NetworkView, View

NETWORK = NetworkView(
    name="fashion", sparsities=(0.0, 0.2, 0.6, 0.8), predicted_seconds=0.0047, measured_seconds=0.005,
    seconds_limit=0.010, memory_bytes=3 * 2**19, metric="recall", accuracy=0.893, error="± 0.40 points", frames=1234,
    per_second=9.84, dropped=12, latest="frame 1233: Sandal (99.2%), 4.93 ms",
)  # fmt: skip
VIEW = View((NETWORK,), memory_limit=2 * 2**20, slowdown=1.0, seconds=3725.0, decisions=())


def draw(view=VIEW, width=80, rows=24, glyphs=UNICODE, colours=False):
    return Screen(glyphs, colours).draw(view, width, rows)


def row(lines, label):
    [found] = [text for text in lines if text.strip().startswith(label)]
    return found


def several(count, **changes):
    networks = tuple(dataclasses.replace(NETWORK, **{"name": f"net{i}", **changes}) for i in range(count))
    return dataclasses.replace(VIEW, networks=networks)


def test_one_network_in_full():
    lines = draw()
    assert lines[0].startswith("LegoDNN ")
    assert lines[0].endswith(" 1:02:05")
    assert "fashion  1,234 frames, 9.84 a second, 12 dropped" in lines
    assert row(lines, "blocks").split()[1:] == ["██████", "▆▆▆▆▆▆", "▃▃▃▃▃▃", "▂▂▂▂▂▂"]
    assert row(lines, "% gone").split()[2:] == ["0", "20", "60", "80"]
    assert "5 ms of 10 ms" in row(lines, "time")
    assert "predicted 4.7 ms" in row(lines, "time")
    assert "1.5 MiB of 2 MiB" in row(lines, "memory")
    assert "recall 89.30%, ± 0.40 points" in row(lines, "predicted")
    assert "frame 1233: Sandal (99.2%), 4.93 ms" in row(lines, "latest")


def test_bars_are_as_full_as_what_is_used():
    time, memory = row(draw(), "time"), row(draw(), "memory")
    assert time.count("█") == pytest.approx(time.count("░"), abs=1)
    assert memory.count("█") == pytest.approx(3 * memory.count("░"), abs=2)
    over = row(draw(dataclasses.replace(VIEW, memory_limit=2**20)), "memory")
    assert "░" not in over
    assert "1.5 MiB of 1 MiB" in over
    assert "\x1b[31m█" in row(draw(dataclasses.replace(VIEW, memory_limit=2**20), colours=True), "\x1b[2m  memory")


def test_what_is_not_known_is_not_made_up():
    network = dataclasses.replace(
        NETWORK, predicted_seconds=None, measured_seconds=None, seconds_limit=None, dropped=None, latest=""
    )
    lines = draw(dataclasses.replace(VIEW, networks=(network,), memory_limit=None))
    assert row(lines, "time").split() == ["time", "?"]
    assert row(lines, "memory").split() == ["memory", "1.5", "MiB"]
    assert row(lines, "latest").split() == ["latest", "no", "frame", "yet"]
    assert not any("dropped" in text for text in lines)


def test_the_latest_decisions_get_the_room_that_is_left():
    view = dataclasses.replace(VIEW, decisions=tuple(f"decision {i}" for i in range(50)))
    lines = draw(view, rows=15)
    assert len(lines) == 15
    assert lines[-1] == "decision 49"
    shown = [text for text in lines if text.startswith("decision ")]
    assert shown == [f"decision {i}" for i in range(50 - len(shown), 50)]
    long = dataclasses.replace(VIEW, decisions=("12:00:00 tighter: " + "word " * 30,))
    assert "".join(draw(long)).count("word") == 30  # wrapped, not cut


def test_several_networks_share_a_memory_line_and_are_shortened_where_room_is_short():
    full, short = draw(several(3), rows=50), draw(several(3), rows=24)
    assert sum(text.strip().startswith("predicted") for text in full) == 3
    assert sum(text.strip().startswith("predicted") for text in short) == 0
    for lines in (full, short):
        assert "4.5 MiB of 2 MiB" in [text for text in lines if text.strip().startswith("memory")][-1]
        assert sum(text.startswith("net") for text in lines) == 3


def test_a_slow_device_is_spoken_of():
    assert "1.7 times slower" in draw(dataclasses.replace(VIEW, slowdown=1.7))[0]
    assert "slower" not in draw(dataclasses.replace(VIEW, slowdown=1.01))[0]


@pytest.mark.parametrize("width", [1, 2, 7, 13, 20, 33, 79, 200])
@pytest.mark.parametrize("rows", [1, 2, 5, 24])
@pytest.mark.parametrize("blocks", [1, 8, 100])
def test_it_fits_any_terminal(width, rows, blocks):
    view = several(2, sparsities=(0.5,) * blocks, latest="漢字" * 40, name="n" * 40)
    view = dataclasses.replace(view, decisions=("words " * 40,) * 9)
    for colours in (False, True):
        lines = draw(view, width, rows, colours=colours)
        assert len(lines) <= rows
        assert all(columns(re.sub(r"\x1b\[[0-9;]*m", "", text)) <= width for text in lines)


def test_every_block_has_its_cells_however_many_there_are():
    for blocks in (1, 8, 30, 67, 68, 150):
        lines = draw(several(1, sparsities=(0.8,) * blocks), rows=60)
        cells = "".join(lines).count("▂")
        assert cells >= blocks
        assert cells % blocks == 0


def test_colours_are_only_there_where_wanted_and_change_nothing_else():
    plain, coloured = draw(), draw(colours=True)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[31m" in row([t for t in coloured if "▂" in t], "\x1b[2m  blocks")
    assert [re.sub(r"\x1b\[[0-9;]*m", "", text) for text in coloured] == plain


def test_text_cannot_control_the_terminal():
    view = several(1, latest="evil \x1b[2J\x07\x9b1A name", name="a\nb")
    view = dataclasses.replace(view, decisions=("\x1b]0;title\x07",))
    text = "".join(draw(view))
    assert not set(text) & set("\x1b\x07\x9b\n")
    assert "a?b" in text


def test_wide_and_combining_characters_are_counted_as_terminals_do():
    assert (columns("漢字"), columns("e\u0301"), columns("abc")) == (4, 1, 3)
    assert line([("漢字漢字", "")], 5, UNICODE, False) == "漢字…"


def test_terminals_that_know_no_blocks_get_ascii():
    assert (glyphs_for("utf-8"), glyphs_for("ascii"), glyphs_for("latin-1"), glyphs_for("nonsense")) == (
        UNICODE, ASCII, ASCII, ASCII,
    )  # fmt: skip
    lines = draw(several(1, latest="é" * 100), glyphs=ASCII)
    assert row(lines, "blocks").split()[1:] == ["######", "******", "------", "::::::"]
    assert row(lines, "latest").endswith("~")


def test_a_screen_is_written_from_the_corner_and_leaves_nothing_old():
    assert text_of(["one", "two"]) == "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J"
