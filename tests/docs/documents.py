"""Which documents there are, and their parts: fenced blocks, links, generated parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

DOCUMENTS = (
    "README.md",
    "builder/README.md",
    "runtime/README.md",
    "shared/bundle/FORMAT.md",
    "tests/benchmarks/README.md",
    ".github/CONTRIBUTING.md",
    "packaging/CHANGELOG.md",
)
"""All documents. Every one has its links, its blocks and its generated parts checked."""

NOT_RUN = "# not run: "
"""How the first line of a block begins that cannot run in the tests; the reason follows."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"(<!-- generated: ([\w -]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: its document, the line of its first line of content (from 1), language and content."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as editors read it."""
        return f"{self.document}:{self.line}"

    @property
    def not_run(self) -> str | None:
        """Why it does not run in the tests; None where it does."""
        first = self.text.split("\n", 1)[0]
        return first.removeprefix(NOT_RUN) if first.startswith(NOT_RUN) else None

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows as a whole, from a first line like ``# own.py``."""
        found = re.match(r"# ([\w./-]+\.\w+)\n", self.text)
        return found[1] if found else None


def read(document: str) -> str:
    """The text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Its fenced blocks, from top to bottom."""
    text = read(document)
    return [
        Block(document, text.count("\n", 0, found.start(2)) + 1, found[1], found[2]) for found in _FENCE.finditer(text)
    ]


def file_shown(name: str) -> str:
    """The content of a whole file that a document shows, which begins with its name."""
    [text] = [block.text for document in DOCUMENTS for block in blocks(document) if block.file == name]
    return text


def prose(text: str) -> str:
    """A text without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures outside fenced blocks."""
    for found in _LINK.finditer(prose(text)):
        yield found[1] or found[2]


def anchors(text: str) -> set[str]:
    """The names of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def generated_parts(text: str) -> list[tuple[str, str]]:
    """Names and contents of the parts between ``<!-- generated: NAME -->`` and ``<!-- end -->``."""
    return [(found[2], found[3]) for found in _GENERATED.finditer(text)]


def with_generated(text: str, contents: dict[str, str]) -> str:
    """The text with new contents of its generated parts. Raises `KeyError` for a part nobody generates."""
    return _GENERATED.sub(lambda found: found[1] + contents[found[2]] + found[4], text)
