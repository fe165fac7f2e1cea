"""The tables of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from xml.etree.ElementTree import Element

from legodnn.builder.plan.plan import Stay
from legodnn.builder.report.facts import BuildFacts
from legodnn.builder.report.markup import Content, append, element
from legodnn.builder.report.selections import Landscape, Point
from legodnn.builder.report.words import (
    WITHOUT_A_LOOK,
    count,
    megaflops,
    of_teacher,
    percent,
    selection_line,
    setting,
    share_of,
    short_variant,
    signed_points,
)
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.naming import few
from legodnn.shared.units import format_bytes, format_seconds

SHARES = (0.8, 0.6, 0.4, 0.25)
"""Shares of the teacher's weights the reader is told the accuracy at."""

DARKEST = 0.05
"""The accuracy lost at which a cell of the heat map is darkest."""

HEAT = 0.6
"""How dark that is: text stays readable on it."""

SHOWN_LAYERS = 12
"""Layers named for one reason; more are counted."""


def rows(heads: Sequence[str], body: Iterable[Sequence[Content]], numbers: int, caption: str = "") -> Element:
    """A table; its last ``numbers`` columns are numbers, and it scrolls by itself where it is too wide."""
    first = len(heads) - numbers
    kinds = ["number" if i >= first else None for i in range(len(heads))]
    head = element("tr", *[element("th", h, scope="col", class_=k) for h, k in zip(heads, kinds, strict=True)])
    made = element("table", element("caption", caption) if caption else None, element("thead", head))
    lines = [element("tr", *[_cell(c, k) for c, k in zip(row, kinds, strict=True)]) for row in body]
    append(made, element("tbody", *lines))
    return element("div", made, class_="scroll", tabindex=0)


def _cell(content: Content, kind: str | None) -> Element:
    if isinstance(content, Element) and content.tag in ("td", "th"):
        return content
    return element("td", content, class_=kind)


def budgets(land: Landscape, metric: str) -> Element:
    """What can be had at some shares of the teacher's weights, and what the uniform baseline has there."""
    teacher = land.teacher
    first = (_two("the teacher", format_bytes(teacher.weight_bytes)), percent(teacher.accuracy), percent(1.0, 1), "")
    others = [_budget(land, land.within(share * teacher.weight_bytes), percent(share, 0)) for share in SHARES]
    body: list[Sequence[Content]] = [first, *others]
    trivial = land.profile.trivial_accuracy
    if trivial is not None:
        body.append((WITHOUT_A_LOOK, _two(percent(trivial), "measured", "number"), share_of(trivial, teacher), ""))
    return rows(("weights", metric, "of the teacher's", "uniform sparsity"), body, 3)


def _budget(land: Landscape, point: Point | None, share: str) -> Sequence[Content]:
    if point is None:
        return (_two(share, "no network is so small"), "–", "–", "–")
    baseline = land.baseline(point.weight_bytes)
    how = f"predicted ± {100 * land.profile.predictor.mean_error:.2f}" if point.measured is None else "measured"
    return (
        _two(share, format_bytes(point.weight_bytes)),
        _two(percent(point.accuracy), how, "number"),
        of_teacher(point, land.teacher),
        percent(baseline) if baseline is not None else "–",
    )


def _two(text: str, below: str, kind: str | None = None) -> Element:
    """A cell with a second, smaller line."""
    return element("td", text, element("small", below), class_=kind)


def losses(build: BuildFacts) -> Element:
    """Accuracy lost and distortion of every variant with all other blocks original: a heat map of blocks and
    variants."""
    profile = build.profile
    variants = list(dict.fromkeys(v for row in profile.distortion.values() for v in row if v != ORIGINAL))
    failed = {(r.block, r.variant) for r in build.results if r.method == "failed"}
    variants += sorted({variant for _, variant in failed} - set(variants))
    how = {(r.block, r.variant): f"{r.method}, error on images held back {r.error:.3g}" for r in build.results}
    body = []
    for block in profile.distortion:
        cells = [_heat(build, block, variant, how.get((block, variant), "")) for variant in variants]
        body.append([element("th", block, scope="row"), *cells])
    return rows(("block", *map(short_variant, variants)), body, len(variants))


def _heat(build: BuildFacts, block: str, variant: str, how: str) -> Element:
    row = build.profile.accuracy_loss[block]
    if variant not in row:
        return element("td", "left out", class_="number none", title=how or None)
    profile, loss = build.profile, row[variant]
    distortion, takes = profile.distortion[block][variant], profile.resources[block][variant]
    title = f"{count(takes.parameters, 'parameter')}, {format_bytes(takes.weight_bytes)}, {megaflops(takes.flops)}"
    shade = HEAT * math.sqrt(min(1.0, max(0.0, loss) / DARKEST))
    return element(
        "td",
        signed_points(-loss),
        element("small", f"{distortion:.2g}"),
        class_="number heat",
        style=f"--heat:{shade:.3f}",
        title=f"{title}; {how}" if how else title,
    )


def selections(build: BuildFacts, land: Landscape) -> Element:
    """Every selection in the charts but those drawn at random; without times where nothing was to be timed."""
    seconds = {land.key(p.selection): s for p, s in build.seconds}
    points = {land.key(p.selection): p for p in [*land.chosen, *land.uniform, *build.timed, land.teacher]}
    body = []
    for key, point in sorted(points.items(), key=lambda pair: pair[1].weight_bytes):
        time = [format_seconds(seconds[key]) if key in seconds else ""] if build.timing else []
        body.append(
            (
                land.kind(point),
                selection_line(point.selection),
                format_bytes(point.weight_bytes),
                f"{point.flops / 1e6:,.1f}",
                percent(point.predicted),
                percent(point.measured) if point.measured is not None else "",
                *time,
            )
        )
    times = ["time"] if build.timing else []
    heads = ("", "sparsity, block by block", "weights", "MFLOP", "predicted", "measured", *times)
    return rows(heads, body, len(heads) - 2)


def network(build: BuildFacts) -> Element:
    """All segments with their layers and sizes."""
    body = [
        (
            segment.name,
            "block" if segment.is_block else "trunk",
            ", ".join(segment.layers),
            f"{segment.resources.parameters:,}",
            format_bytes(segment.resources.weight_bytes),
            format_bytes(segment.smallest_bytes),
            f"{segment.resources.flops / 1e6:,.1f}",
        )
        for segment in build.segments
    ]
    heads = ("segment", "kind", "layers", "parameters", "weights", "smallest", "MFLOP")
    return rows(heads, body, 4)


def stays(found: Sequence[Stay]) -> Element:
    """What keeps channels, the most channels first."""
    body = [(str(stay.reason), few(stay.layers, SHOWN_LAYERS), f"{stay.channels:,}") for stay in found]
    return rows(("why", "layers", "channels"), body, 1)


def stages(build: BuildFacts) -> Element:
    """How long the build took, stage by stage."""
    body = [
        (stage.name, stage.note, format_seconds(stage.seconds) if stage.seconds is not None else "unknown")
        for stage in build.stages
    ]
    return rows(("stage", "", "time"), body, 1)


def settings(build: BuildFacts) -> Element:
    """The recipe, every key with the value it had."""
    recipe = build.recipe
    body: list[Sequence[Content]] = []
    for part in fields(recipe):
        value = getattr(recipe, part.name)
        if is_dataclass(value) and part.name != "manager":
            body += [(f"{part.name}.{f.name}", setting(getattr(value, f.name))) for f in fields(value)]
        elif part.name != "folder":
            body.append((part.name, setting(value)))
    return rows(("key", "value"), body, 0)


def pairs(items: Iterable[tuple[str, str]]) -> Element:
    """Names and values."""
    return rows(("", ""), items, 0)

