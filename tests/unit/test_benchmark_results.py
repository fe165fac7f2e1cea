"""The benchmarks' README and its results belong together: nothing is unlinked, every table is whole."""

import csv
import importlib.util
import re
from pathlib import Path

import pytest

from tests.benchmarks import curve

FOLDER = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((FOLDER / "results").iterdir())
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")


def links(text):
    """Targets of a page's links to files."""
    return {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}


def test_every_result_is_linked_and_every_link_is_a_file():
    assert links(TEXT) == {f"results/{path.name}" for path in RESULTS}


@pytest.mark.parametrize("path", [p for p in RESULTS if p.suffix == ".md"], ids=lambda path: path.name)
def test_links_between_results_are_files(path):
    assert all((path.parent / target).is_file() for target in links(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", [p for p in RESULTS if p.suffix == ".csv"], ids=lambda path: path.name)
def test_every_table_says_where_it_is_from_and_has_as_many_cells_in_every_row(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# command: ")
    header, *rows = csv.reader([line for line in lines if not line.startswith("#")], strict=True)
    assert len(set(header)) == len(header)
    assert rows
    assert [row for row in rows if len(row) != len(header)] == []


def test_every_command_is_a_module():
    pages = [TEXT, *(path.read_text(encoding="utf-8") for path in RESULTS)]
    names = {name for page in pages for name in re.findall(r"python -m (tests\.[\w.]+)", page)}
    assert "tests.benchmarks.applications" in names
    assert [name for name in names if importlib.util.find_spec(name) is None] == []


def test_the_picture_shows_the_measured_curve():
    [source] = FOLDER.glob("results/curve-*.csv")
    shown = (FOLDER / "results" / "curve.svg").read_text(encoding="utf-8")
    assert shown == curve.drawing(curve.read(source)), "draw it: python -m tests.benchmarks.curve --draw CSV SVG"
