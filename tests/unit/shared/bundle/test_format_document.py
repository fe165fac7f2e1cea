"""`FORMAT.md` says what the code does: the example's bytes, the fields, the versions, the limits."""

import dataclasses
import re
from pathlib import Path
from typing import Union, get_args, get_origin, get_type_hints

import pytest

import legodnn.shared.bundle.manifest as tables
from legodnn.shared.bundle.encoding import MAX_DEPTH_ITEMS
from legodnn.shared.bundle.format import DIGEST_BYTES, HEADER, MAGIC, MAJOR, MAX_MANIFEST_BYTES, MINOR
from legodnn.shared.tasks.known import TASKS
from tests import smallest_bundle

TEXT = (Path(__file__).parents[4] / "shared" / "bundle" / "FORMAT.md").read_text(encoding="utf-8")
KINDS = [kind for kind in vars(tables).values() if dataclasses.is_dataclass(kind)]
NAMES = {str: "text", int: "integer", float: "number", bytes: "bytes"}


def name_of(kind):
    """A field's type in the words of the document."""
    arguments = get_args(kind)
    if get_origin(kind) is Union:
        return f"{name_of(arguments[0])} or nil"
    if get_origin(kind) is dict:
        return f"map of {name_of(arguments[1])}"
    if get_origin(kind) is tuple and arguments[1:] == (Ellipsis,):
        return f"list of {name_of(arguments[0])}"
    if get_origin(kind) is tuple:
        return f"({', '.join(map(name_of, arguments))})"
    return NAMES.get(kind) or f"`{kind.__name__}`"


def rows_of(name):
    """The rows of the table under a heading that ends with this name."""
    section = re.split(rf"^### .*\b{name}$", TEXT, flags=re.MULTILINE)[1].partition("\n#")[0]
    return re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", section, re.MULTILINE)


def test_the_committed_smallest_bundle_is_what_its_script_writes(tmp_path):
    smallest_bundle.write(tmp_path / "again.lgb")
    assert (tmp_path / "again.lgb").read_bytes() == smallest_bundle.PATH.read_bytes()


def test_its_dump_is_the_smallest_bundle():
    assert smallest_bundle.dump(smallest_bundle.PATH.read_bytes()) in TEXT
    assert smallest_bundle.parts(smallest_bundle.PATH) in TEXT


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_its_tables_have_every_field_in_order_with_type_and_default(kind):
    hints = get_type_hints(kind)
    expected = [(field.name, name_of(hints[field.name])) for field in dataclasses.fields(kind)]
    rows = rows_of(kind.__name__)
    assert [(name, text) for name, text, _ in rows] == expected
    for field, (_, _, meaning) in zip(dataclasses.fields(kind), rows, strict=True):
        assert (field.default is not dataclasses.MISSING) == ("default: " in meaning), field.name


def test_it_has_a_table_for_every_part_of_the_manifest():
    assert set(re.findall(r"^### .*?(\w+)$", TEXT, re.MULTILINE)) == {kind.__name__ for kind in KINDS}


def test_its_layout_is_the_header():
    assert f"| 0 | 8 | magic: `{MAGIC.hex(' ').upper()}` |" in TEXT
    assert f"| {HEADER.size} | {DIGEST_BYTES} | SHA-256 of bytes 0 to {HEADER.size - 1} followed" in TEXT
    assert f"| {HEADER.size + DIGEST_BYTES} | m | manifest" in TEXT


def test_its_version_is_the_one_that_is_written():
    assert TEXT.startswith(f"# The bundle format, version {MAJOR}.{MINOR}\n")
    assert f"| 8 | 2 | major version, {MAJOR} |\n| 10 | 2 | minor version, {MINOR} |" in TEXT
    history = re.findall(r"^\| (\d+\.\d+) \| ", TEXT, re.MULTILINE)
    assert history == [f"{MAJOR}.{minor}" for minor in range(MINOR + 1)]


def test_its_limits_types_and_applications_are_those_of_the_code():
    assert f"| manifest | {MAX_MANIFEST_BYTES // 2**20} MiB |" in TEXT
    assert f"| entries of one list or map of msgpack | {MAX_DEPTH_ITEMS:,} |" in TEXT
    assert f"Types of elements: {', '.join(f'`{name}`' for name in tables.DTYPES)}." in TEXT
    assert all(f"`{name}`" in TEXT for name in TASKS)


def test_its_links_lead_somewhere():
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
