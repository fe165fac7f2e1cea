"""Elements of HTML and SVG. Texts and attributes are escaped when they are written, whatever they hold."""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

Content = Element | str | None


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """An element; underscores in attribute names stand for hyphens, and ``class_`` for ``class``.

    Attributes and content that are None are left out.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), number(value) if isinstance(value, float) else str(value))
    append(made, *content)
    return made


def append(parent: Element, *content: Content) -> None:
    """Put elements and texts behind what an element holds already."""
    for item in content:
        if isinstance(item, Element):
            parent.append(item)
        elif item is not None and len(parent):
            parent[-1].tail = (parent[-1].tail or "") + item
        elif item is not None:
            parent.text = (parent.text or "") + item


def number(value: float) -> str:
    """A coordinate: two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def to_bytes(page: Element) -> bytes:
    """A whole HTML document in UTF-8; what UTF-8 cannot hold is written as a reference."""
    text = tostring(page, encoding="unicode", method="html")
    return f"<!doctype html>\n{text}\n".encode("utf-8", "xmlcharrefreplace")
