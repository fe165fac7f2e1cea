"""The report of a build as one HTML page: no scripts, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from xml.etree.ElementTree import Element

from legodnn.builder.report import figures, tables
from legodnn.builder.report.facts import BuildFacts
from legodnn.builder.report.markup import Content, element, to_bytes
from legodnn.builder.report.network import drawing
from legodnn.builder.report.seconds import RUNS, TURNS
from legodnn.builder.report.selections import Landscape
from legodnn.builder.report.words import WITHOUT_A_LOOK, count, of_teacher, percent, selection_line
from legodnn.shared.files import atomic_write
from legodnn.shared.host import current_host
from legodnn.shared.units import format_bytes

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a browser lets the page do: use its own style sheet."""

SHOWN_SEGMENTS = 24
"""A longer drawing of the network is folded."""

HEADLINE = 0.4
"""The share of the teacher's weights the first lines tell the accuracy at."""


def report_path(bundle: Path) -> Path:
    """Where the report of a bundle goes: beside it, ``fashion.report.html`` for ``fashion.lgb``."""
    return bundle.with_name(f"{bundle.stem}.report.html")


def write_report(path: Path, build: BuildFacts) -> None:
    """Write the report of a build. Raises `OSError` where that is not possible; the file is whole or not there."""
    atomic_write(path, to_bytes(page(build)))


def page(build: BuildFacts) -> Element:
    """The whole document."""
    land = Landscape(build.profile)
    title = f"{build.bundle_name}: what the build found"
    style = resources.files("legodnn.builder.report").joinpath("report.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    )
    main = element(
        "main",
        _head(build, land),
        _budgets(build, land),
        _charts(build, land),
        _network(build),
        _variants(build),
        _predictor(build, land),
        _dense(build),
        _making(build),
    )
    return element("html", head, element("body", main), lang="en")


def _section(name: str, title: str, *content: Content) -> Element:
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, *content, id=name, aria_labelledby=f"{name}-title")


def _text(*content: Content) -> Element:
    return element("p", *content)


def _folded(summary: str, *content: Content, unfolded: bool = False) -> Element:
    return element("details", element("summary", summary), *content, open="" if unfolded else None)


def _figure(drawn: Element, *below: Element, title: str = "") -> Element:
    heading = element("h3", title) if title else None
    return element("figure", heading, drawn, *below)


def _head(build: BuildFacts, land: Landscape) -> Element:
    teacher = land.teacher
    point = land.within(HEADLINE * teacher.weight_bytes)
    tiles: list[tuple[str, str]] = [(f"teacher's {build.metric}", percent(teacher.accuracy))]
    if point is not None:
        how = "" if point.measured is not None else ", predicted"
        tiles.append((f"of that within {percent(HEADLINE, 0)} of its weights{how}", of_teacher(point, teacher)))
    if build.profile.trivial_accuracy is not None:
        tiles.append((f"{build.metric} {WITHOUT_A_LOOK}", percent(build.profile.trivial_accuracy)))
    smallest = land.frontier[0]
    tiles += [
        ("weights, smallest network to teacher", _range(smallest.weight_bytes, teacher.weight_bytes)),
        ("the bundle", format_bytes(build.bundle_bytes)),
    ]
    shape = " × ".join(map(str, build.recipe.model.input))
    inputs = f"{build.recipe.model.inputs} inputs" if build.recipe.model.inputs > 1 else "input"
    return element(
        "header",
        element("p", f"LegoDNN · {build.task}", class_="eyebrow"),
        element("h1", build.bundle_name),
        _text(
            f"{build.recipe.name}, {inputs} {shape}: {count(len(land.blocks), 'block')} with "
            f"{count(sum(map(len, build.profile.distortion.values())), 'variant')} make {_large(land.count)} networks."
        ),
        element("dl", *[element("div", element("dt", name), element("dd", value)) for name, value in tiles]),
    )


def _range(low: int, high: int) -> str:
    return f"{format_bytes(low)} to {format_bytes(high)}"


def _large(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{number:.1e}".replace("e+", " × 10^")


def _budgets(build: BuildFacts, land: Landscape) -> Element:
    return _section(
        "budgets",
        "What can be had",
        tables.budgets(land, build.metric),
        _note(
            "The best selection at each size. Uniform sparsity, the same in every block, is the baseline; its accuracy "
            "at that size lies on the line between two networks that were measured."
            if build.profile.uniform
            else "The best selection at each size. Uniform sparsity, the same in every block, is the baseline; this "
            "profile was made before it was measured, so it is predicted."
        ),
    )


def _note(text: str) -> Element:
    return element("p", text, class_="note")


def _charts(build: BuildFacts, land: Landscape) -> Element:
    looked_at = f"all {land.count:,} selections" if land.count == len(land.everywhere) else "selections drawn at random"
    uniform = "measured" if build.profile.uniform else "predicted"
    memory = _figure(
        figures.memory_chart(build, land),
        figures.legend(
            ("teacher", "measured", "the teacher"),
            ("frontier", "line", "the best there is, predicted"),
            ("", "band", "± the predictor's mean error"),
            ("frontier", "measured", "of these, measured"),
            ("uniform", uniform, f"uniform sparsity, {uniform}"),
            ("everywhere", "predicted", looked_at),
            *_trivial_key(build, land),
        ),
        title="Accuracy against memory",
    )
    return _section(
        "accuracy",
        "Accuracy against memory and time" if build.timing else "Accuracy against memory",
        element("div", memory, _time(build, land), class_="pair"),
        _below(build, land),
        _folded("The selections in numbers", tables.selections(build, land)),
    )


def _trivial_key(build: BuildFacts, land: Landscape) -> Sequence[tuple[str, str, str]]:
    """The legend's entry for the line of the trivial answer, where the charts have it."""
    return [("trivial", "line", WITHOUT_A_LOOK)] if figures.trivial_is_shown(build, land) else []


def _below(build: BuildFacts, land: Landscape) -> Element | None:
    """What the charts have no room for."""
    low = figures.accuracy_axis(build, land).low
    hidden = [f"{selection_line(p.selection)}: {percent(p.accuracy)}" for p in land.uniform if p.accuracy < low]
    texts = [f"Uniform sparsities below the charts: {'; '.join(hidden)}."] if hidden else []
    trivial = build.profile.trivial_accuracy
    if trivial is not None and not figures.trivial_is_shown(build, land):
        texts.append(f"Outside the charts is what can be had {WITHOUT_A_LOOK}: {percent(trivial)}.")
    return _note(" ".join(texts)) if texts else None


def _time(build: BuildFacts, land: Landscape) -> Element:
    chart = figures.time_chart(build, land)
    if build.timing is None:
        return _figure(element("p", "Times were not measured: the build was run with --no-timing.", class_="missing"))
    if chart is None:
        reason = build.timing.failure or "there was no time for it"
        return _figure(element("p", f"Nothing could be timed on this machine: {reason}", class_="missing"))
    host = current_host()
    missing = sum(s is None for s in build.timing.seconds)
    threads = count(build.timing.threads, "thread")
    note = (
        f"On the CPU of the machine the bundle was built on ({host.cpu}, {threads}), each network traced as a whole: "
        f"the fastest of {TURNS} turns or less, in each the median of {RUNS} runs. A device measures its own times."
    )
    if missing:
        note += f" {count(missing, 'selection')} left out: the time for timing was used up."
    return _figure(
        chart,
        figures.legend(
            ("teacher", "measured", "the teacher"),
            ("frontier", "measured", "on a frontier, accuracy measured"),
            ("frontier", "predicted", "accuracy predicted"),
            ("uniform", "measured" if build.profile.uniform else "predicted", "uniform sparsity"),
            ("frontier", "line", "the best of those timed"),
            *_trivial_key(build, land),
        ),
        _note(note),
        title="Accuracy against time",
    )


def _network(build: BuildFacts) -> Element:
    trunk = sum(not s.is_block for s in build.segments)
    stays = f", and {count(trunk, 'segment')} of the trunk, which stays as it is" if trunk else ""
    drawn = element("div", drawing(build.segments), class_="drawing")
    if len(build.segments) > SHOWN_SEGMENTS:
        drawn = _folded("The drawing", drawn)
    return _section(
        "network",
        "The network",
        _text(
            f"{count(len(build.segments) - trunk, 'block')}, which have variants{stays}. Bars are weights, solid as "
            f"far as even the smallest variant has them. Lines on the left are values that pass by."
        ),
        drawn,
        _folded("The segments in numbers", tables.network(build)),
    )


def _variants(build: BuildFacts) -> Element:
    failed = sum(r.method == "failed" for r in build.results)
    left_out = f"{count(failed, 'variant')} left out: training diverged at both learning rates."
    return _section(
        "variants",
        "What each variant loses",
        _text(
            f"Change of {build.metric} in percentage points with this variant alone, by block and sparsity. Below it "
            f"the distortion, which the predictor adds up: how far the network's output moves, squared, relative to "
            f"its variance."
        ),
        tables.losses(build),
        _note(left_out) if failed else None,
    )


def _predictor(build: BuildFacts, land: Landscape) -> Element:
    predictor = build.profile.predictor
    unseen = [abs(p.predicted - p.accuracy) for p in land.unseen]
    text = (
        f"Fitted on {count(predictor.compositions, 'measured composition')}. Each of these predicted from the others "
        f"is off by {100 * predictor.mean_error:.2f} points in the mean, by {100 * predictor.worst_error:.2f} at worst."
    )
    if unseen:
        text += (
            f" The uniform selections, which it has not seen, are off by {100 * sum(unseen) / len(unseen):.2f} points "
            f"in the mean, by {100 * max(unseen):.2f} at worst."
        )
    return _section(
        "predictor",
        "How good predictions are",
        _text(text),
        _figure(
            figures.predictor_chart(build, land),
            figures.legend(
                ("frontier", "measured", "what it was fitted on"),
                ("uniform", "measured", "uniform sparsity, not seen"),
                ("diagonal", "line", "perfect"),
                ("", "band", "± mean error"),
            ),
        ),
    )


def _dense(build: BuildFacts) -> Element:
    plan = build.plan
    removable = sum(b.modules_removable for b in plan.blocks)
    content: list[Content] = [
        _text(
            f"{percent(removable / max(1, plan.parameters), 0)} of the {plan.parameters:,} parameters are in channels "
            f"that may go. What keeps the others:"
        ),
        tables.stays(plan.stays),
    ]
    if plan.trunk_layers:
        content.append(_text(f"Not in any block: {', '.join(plan.trunk_layers)}."))
    if plan.opaque:
        content += [_text("Kept whole:"), tables.pairs(plan.opaque.items())]
    return _section("dense", "What was left dense, and why", *content)


def _making(build: BuildFacts) -> Element:
    host = current_host()
    machine = f"{host.cpu}, {count(host.cores, 'core')}, {format_bytes(host.memory_bytes)}, {host.system}"
    made: Sequence[tuple[str, str]] = [
        ("seed", str(build.seed)),
        ("device", build.device),
        ("machine", machine),
        *build.versions.items(),
    ]
    return _section(
        "making",
        "How it was made",
        element("h3", "Time"),
        tables.stages(build),
        element("h3", "Recipe"),
        _folded("All settings", tables.settings(build)),
        element("h3", "Versions and machine"),
        tables.pairs(made),
    )
