"""VOC's XML: a file per image with its objects.

Everingham et al., *The PASCAL visual object classes (VOC) challenge*, IJCV 2010. Boxes are in pixels counted from 1,
the last one included.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional, Tuple
from xml.etree import ElementTree

from legodnn.shared.datasets.paths import inside
from legodnn.shared.datasets.regions import finite
from legodnn.shared.errors import InputError


@dataclass(frozen=True)
class VocObject:
    """An object: its class, its box (left, top, right, bottom) with the first pixel at 0, and whether it is difficult,
    that is, not counted."""

    name: str
    box: Tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class VocImage:
    """An image: its file, (width, height) of its boxes (None if unknown), its objects."""

    file: str
    size: Optional[Tuple[int, int]]
    objects: Tuple[VocObject, ...]


def read_voc(path: str, images: str) -> VocImage:
    """Read the XML file of an image in the folder ``images``. Raises `InputError` for one that is broken."""
    root = _root(path)
    if root.tag != "annotation":
        raise InputError(f"{path}: <annotation> expected, not <{root.tag}>")
    file = inside(images, root.findtext("filename"))
    if not os.path.isfile(file):
        raise InputError(f"{file}: no such file")
    width, height = root.findtext("size/width", ""), root.findtext("size/height", "")
    said = width.strip().isdecimal() and height.strip().isdecimal() and int(width) > 0 and int(height) > 0
    objects = tuple(_object(path, node) for node in root.findall("object"))
    return VocImage(file, (int(width), int(height)) if said else None, objects)


def _root(path: str) -> ElementTree.Element:
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    with open(path, "rb") as file:
        data = file.read()
    # VOC declares no types or entities; in other files, entities might expand without end.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{path}: it declares a document type, as no VOC annotation does")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not readable as XML ({error})") from None


def _object(path: str, node: ElementTree.Element) -> VocObject:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{path}: an object without a name")
    left, top, right, bottom = (_number(path, node, side) for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (node.findtext("difficult") or "").strip() == "1"
    return VocObject(name, (left - 1, top - 1, right, bottom), difficult)


def _number(path: str, node: ElementTree.Element, side: str) -> float:
    text = node.findtext(f"bndbox/{side}") or ""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not finite(value):
        raise InputError(f"{path}: {side} of an object is no number: '{text.strip()}'")
    return value
