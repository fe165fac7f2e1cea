"""The report of a build as one HTML page: no scripts, nothing fetched from elsewhere.

What it looks like is in `templates/page.html.j2`; here is what is known there.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from legodnn.builder.report import figures, tables, words
from legodnn.builder.report.network import Drawing
from legodnn.builder.report.seconds import RUNS, TURNS
from legodnn.builder.report.selections import Selections
from legodnn.builder.report.summary import BuildSummary
from legodnn.shared.files import atomic_write
from legodnn.shared.host import current_host
from legodnn.shared.naming import few
from legodnn.shared.units import count, format_bytes, format_seconds

PACKAGE = "legodnn.builder.report"

HEADLINE = 0.4
"""The share of the teacher's weights the first lines tell the accuracy at."""

FUNCTIONS = (
    words.expected_error, words.large, words.percent, words.points, words.sampled, words.selection_line, words.share_of,
    words.signed_points, words.sizes,
    count, few, tables.how_made, figures.key_symbol, format_bytes, format_seconds,
)  # fmt: skip
"""What templates can call, by the name it has in Python."""


def write_report(path: Path, build: BuildSummary) -> None:
    """Write the report of a build. Raises `OSError` where that is not possible; the file is whole or not there."""
    atomic_write(path, page(build))


def page(build: BuildSummary) -> bytes:
    """The whole document in UTF-8; what UTF-8 cannot hold is written as a reference."""
    land = Selections(build.profile)
    template = _environment().get_template("page.html.j2")
    text = template.render(
        style=resources.files(PACKAGE).joinpath("report.css").read_text(encoding="utf-8"),
        build=build,
        land=land,
        host=current_host(),
        turns=TURNS,
        runs=RUNS,
        headline=tables.budget(land, HEADLINE),
        budgets=[tables.budget(land, share) for share in tables.SHARES],
        memory_chart=figures.memory_chart(build, land),
        time_chart=figures.time_chart(build, land),
        predictor_chart=figures.predictor_chart(build, land),
        chance_is_shown=figures.chance_is_shown(build, land),
        below=figures.below(build, land),
        selections=tables.selections(build, land),
        drawing=Drawing(build.segments),
        losses=tables.losses(build),
        figures_of_teacher=tables.teacher(build),
        unseen=[abs(point.predicted - point.accuracy) for point in land.unseen],
        settings=tables.settings(build),
    )
    return text.encode("utf-8", "xmlcharrefreplace")


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_coordinate,
    )
    made.globals.update({function.__name__: function for function in FUNCTIONS})
    return made


def _coordinate(value: Any) -> Any:
    """What is written for a value: two decimals at most for a float, all others as they are."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
