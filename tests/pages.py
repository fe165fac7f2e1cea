"""Reading an HTML page strictly: every element closed where it was opened, everything that is in it at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}


@dataclass
class Node:
    """An element with its attributes and children; texts are children as well."""

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str = "", **attributes: str) -> list[Node]:
        """The elements inside with this tag and these attributes, in order."""
        found = []
        for child in self.children:
            if isinstance(child, Node):
                wanted = all(child.attributes.get(k.rstrip("_")) == v for k, v in attributes.items())
                found += [child] if tag in ("", child.tag) and wanted else []
                found += child.all(tag, **attributes)
        return found

    def rows(self) -> list[list[str]]:
        """The texts of a table's cells, row by row, without the head."""
        [body] = self.all("tbody")
        return [[cell.text for cell in row.children if isinstance(cell, Node)] for row in body.all("tr")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}>: an attribute twice"
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open[-1].tag, f"</{tag}> where </{self.open[-1].tag}> is due"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_page(text: str) -> Node:
    """The document; `AssertionError` where it is not well-formed."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert [node.tag for node in reader.open] == ["document"], "elements left open"
    return reader.open[0]
