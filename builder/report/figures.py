"""The charts of a report. Filled marks are measured, hollow ones predicted; every series has its colour and shape."""

from __future__ import annotations

from collections.abc import Iterable

from legodnn.builder.report.chart import Axis, Chart, Mark, axis, symbol
from legodnn.builder.report.selections import Point, Selections
from legodnn.builder.report.summary import BuildSummary
from legodnn.builder.report.words import percent, selection_line
from legodnn.shared.tasks.prediction import prediction_error
from legodnn.shared.units import format_bytes, format_seconds

MARGIN = 0.04
"""What is left free around the points, as a share of their span."""

BELOW = 1.6
"""The accuracy axis reaches so many times as far down as the frontier does; what is worse is cut off and said so."""

LEAST_SPAN = 0.01
"""The accuracy axis covers no less than this."""

_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_BYTE_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))

SHAPES = {"frontier": "circle", "uniform": "square", "teacher": "star", "everywhere": "circle"}


def memory_chart(build: BuildSummary, land: Selections) -> Chart:
    """Accuracy against the bytes of all weights."""
    teacher = land.teacher
    unit, name = _unit(teacher.weight_bytes, _BYTE_UNITS)
    smallest = min(p.weight_bytes for p in [*land.frontier, teacher])
    margin = MARGIN * max(teacher.weight_bytes - smallest, 1)
    x = axis(f"weights, {name}", max(0.0, smallest - margin), teacher.weight_bytes + margin, unit, widened=False)
    shares = axis("", x.low, x.high, teacher.weight_bytes / 100, widened=False)
    above = Axis("share of the teacher's weights", x.low, x.high, [(at, f"{text} %") for at, text in shares.ticks])
    described = f"{build.metric} against the bytes of the weights; the same numbers are in a table"
    chart = Chart("memory", described, x, accuracy_axis(build, land), above)
    for point in land.everywhere:
        if chart.covers(point.weight_bytes, point.predicted):
            chart.point(point.weight_bytes, point.predicted, "circle", "mark everywhere", size=1.7)
    predictor = land.profile.predictor
    line = [(float(p.weight_bytes), p.predicted) for p in land.frontier]
    line.append((float(teacher.weight_bytes), line[-1][1]))  # more memory never makes it worse
    errors = [prediction_error(predictor, build.task, build.metric, b) for _, b in line]
    low, high = ([(a, b + sign * e) for (a, b), e in zip(line, errors, strict=True)] for sign in (-1, 1))
    chart.band(low, high, "band")
    chart.line(line, "line frontier")
    chart.line([(p.weight_bytes, p.accuracy) for p in [*land.uniform, teacher]], "line uniform")
    _draw_chance(chart, build, land)
    for point in land.chosen:
        _draw(chart, point, point.weight_bytes, "frontier")
    for point in land.uniform:
        _draw(chart, point, point.weight_bytes, "uniform")
    _draw(chart, teacher, teacher.weight_bytes, "teacher")
    return chart


def time_chart(build: BuildSummary, land: Selections) -> Chart | None:
    """Accuracy against seconds on this machine; None where nothing was timed."""
    timed = build.seconds
    if not timed:
        return None
    slowest = max(seconds for _, seconds in timed)
    unit, name = _unit(slowest, _TIME_UNITS)
    x = axis(f"time of an inference, {name}", 0.0, slowest * (1 + MARGIN), unit, widened=False)
    described = f"{build.metric} against the time of an inference; the same numbers are in a table"
    chart = Chart("time", described, x, accuracy_axis(build, land))
    best: list[tuple[float, float]] = []
    for point, seconds in sorted(timed, key=lambda pair: (pair[1], -pair[0].accuracy)):
        if not best or point.accuracy > best[-1][1]:
            best.append((seconds, point.accuracy))
    chart.line(best, "line frontier")
    baseline = [(p.weight_bytes, s, p.accuracy) for p, s in timed if land.kind(p) != "frontier"]
    chart.line([(s, accuracy) for _, s, accuracy in sorted(baseline)], "line uniform")
    _draw_chance(chart, build, land)
    for point, seconds in timed:
        _draw(chart, point, seconds, land.kind(point), f", {format_seconds(seconds)}")
    return chart


def predictor_chart(build: BuildSummary, land: Selections) -> Chart:
    """Accuracy predicted against accuracy measured; perfect predictions lie on the diagonal."""
    measured = [*land.measured, *land.unseen]
    values = [v for p in [*measured, land.teacher] for v in (p.predicted, p.accuracy)]
    both = axis("", min(min(values), max(values) - LEAST_SPAN), max(values), 0.01)
    x, y = (Axis(f"{build.metric} {what}, %", both.low, both.high, both.ticks) for what in ("predicted", "measured"))
    chart = Chart("predictor", "accuracy measured against accuracy predicted; the same numbers are in a table", x, y)
    error = land.profile.predictor.mean_error
    ends = [both.low, both.high]
    chart.band([(v, v - error) for v in ends], [(v, v + error) for v in ends], "band")
    chart.line([(v, v) for v in ends], "line diagonal")
    for points, kind in ((land.measured, "frontier"), (land.unseen, "uniform")):
        for point in points:
            title = f"predicted {percent(point.predicted)}, measured {percent(point.accuracy)}"
            title += f"\n{selection_line(point.selection)}"
            chart.point(point.predicted, point.accuracy, SHAPES[kind], f"mark {kind} measured", title)
    return chart


def accuracy_axis(build: BuildSummary, land: Selections) -> Axis:
    """Percent, from the teacher down to what the frontier reaches, or somewhat further where the baseline is worse."""
    reached = [*land.chosen, land.teacher]
    best = max(max(p.predicted, p.accuracy) for p in reached)
    worst = min(min(p.predicted, p.accuracy) for p in reached)
    worst = min(worst, best - LEAST_SPAN)
    low = max(min([worst, *(p.accuracy for p in land.uniform)]), best - BELOW * (best - worst))
    margin = MARGIN * (best - low)
    return axis(f"{build.metric}, %", max(0.0, low - margin), min(1.0, best + margin), 0.01)


def key_symbol(kind: str, how: str) -> Mark:
    """The mark of a kind of point, ``measured`` or ``predicted``, as a legend shows it."""
    return symbol(SHAPES[kind], (12, 8), 2.2 if kind == "everywhere" else 4.5, f"mark {kind} {how}")


def _draw(chart: Chart, point: Point, x: float, kind: str, more: str = "") -> None:
    """A selection with its numbers as a tooltip."""
    how = "predicted" if point.measured is None else "measured"
    numbers = f"{percent(point.accuracy)} {how}, {format_bytes(point.weight_bytes)}{more}"
    small = kind == "frontier" and how == "predicted"
    title = f"{kind}: {numbers}\n{selection_line(point.selection)}"
    chart.point(x, point.accuracy, SHAPES[kind], f"mark {kind} {how}", title, 3.0 if small else 4.5)


def chance_is_shown(build: BuildSummary, land: Selections) -> bool:
    """Whether the chance level is known, and on the charts' axis."""
    chance = land.profile.chance_accuracy
    return chance is not None and 0 <= accuracy_axis(build, land).share(chance) <= 1


def below(build: BuildSummary, land: Selections) -> list[Point]:
    """Uniform selections that are worse than what the charts' axis reaches down to."""
    low = accuracy_axis(build, land).low
    return [point for point in land.uniform if point.accuracy < low]


def _draw_chance(chart: Chart, build: BuildSummary, land: Selections) -> None:
    chance = land.profile.chance_accuracy
    if chance is not None and chance_is_shown(build, land):
        chart.line([(chart.x.low, chance), (chart.x.high, chance)], "line chance")


def _unit(value: float, units: Iterable[tuple[float, str]]) -> tuple[float, str]:
    found = list(units)
    return next((pair for pair in found if value >= pair[0]), found[-1])
