"""A schedule follows the clock; all mistakes of its file come at once, with their lines."""

import pytest

from legodnn.runtime import Budget, Entry, Schedule
from legodnn.shared.errors import UsageError

GOOD = """at,time,memory
0s,10ms,4.5MiB
 10s , , 2MB

1min,5ms,
90s,,
"""


def written(tmp_path, text):
    path = tmp_path / "budgets.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_budgets_follow_each_other_from_the_first_look_on(tmp_path):
    now = 1000.0
    schedule = Schedule.from_file(written(tmp_path, GOOD), clock=lambda: now)
    found = {}
    for at in (0, 9.9, 10, 59, 60, 90, 10**6):
        now = 1000.0 + at
        found[at] = schedule.read()
    first, second = Budget(0.01, int(4.5 * 2**20)), Budget(None, 2 * 10**6)
    assert list(found.values()) == [first, first, second, second, Budget(0.005), Budget(), Budget()]


def test_there_is_no_limit_before_the_first_entry(tmp_path):
    now = 0.0
    schedule = Schedule([Entry(1.0, Budget(0.01))], clock=lambda: now)
    assert schedule.read() == Budget()
    now = 1.0
    assert schedule.read() == Budget(0.01)


@pytest.mark.parametrize("zero", ["0", "0s", "0 ms", "0.0s", "00"])
def test_zero_is_a_time_to_begin(tmp_path, zero):
    schedule = Schedule.from_file(written(tmp_path, f"At,Time,Memory\n{zero},5ms,\n"), clock=lambda: 0.0)
    assert schedule.read() == Budget(0.005)


def test_all_mistakes_come_at_once_with_their_lines(tmp_path):
    rows = ["at,time,memory", "0s,5,1MiB", "1s,5ms", ",5ms,", "3s,-1ms,4.5Mibi", "2s,5ms,", "soon,5ms,", "0x,,"]
    path = written(tmp_path, "\n".join(rows))
    with pytest.raises(UsageError) as refusal:
        Schedule.from_file(path)
    lines = str(refusal.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4", "5", "5", "6", "7", "8"]
    texts = "no unit/2 cells/no time at which/positive/unknown unit/not later/soon/unknown unit"
    for line, what in zip(lines, texts.split("/"), strict=True):
        assert line.startswith(f"{path}:")
        assert what in line


@pytest.mark.parametrize(("content", "what"), [
    (b"", ":1: the first line must be at,time,memory"), (b"time,memory\n1s,2s", ":1: the first line"),
    (b"at,time,memory\n", ":2: no budget"), (b"at,time,memory\n\xff,,", "not CSV"), (b'at,time,memory\n"a', "not CSV"),
])  # fmt: skip
def test_files_that_are_no_schedules_are_refused(tmp_path, content, what):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=what):
        Schedule.from_file(path)


def test_entries_made_by_hand_must_be_in_order():
    with pytest.raises(UsageError, match="without a budget"):
        Schedule([])
    with pytest.raises(UsageError, match="must rise"):
        Schedule([Entry(1, Budget()), Entry(1, Budget())])
