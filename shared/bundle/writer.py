"""Writing a bundle."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Union

from legodnn.shared.bundle.blobs import BlobStore
from legodnn.shared.bundle.encoding import encode
from legodnn.shared.bundle.format import HEADER, MAGIC, MAJOR, MINOR
from legodnn.shared.bundle.manifest import Manifest
from legodnn.shared.files import atomic_write


def write_bundle(path: Union[str, Path], manifest: Manifest, blobs: BlobStore) -> int:
    """Write ``manifest`` (its ``blobs`` are filled in from the store) and the blobs; returns the file's size in bytes.

    The file appears under its name whole or not at all. Equal content gives equal bytes. Raises `BundleError` for a
    manifest that contradicts itself or its blobs, `OSError` where it cannot be written.
    """
    manifest = dataclasses.replace(manifest, blobs=tuple(blobs.entries()))
    manifest.check()
    text = encode(manifest.to_plain())
    header = HEADER.pack(MAGIC, MAJOR, MINOR, len(text))
    parts = [header, hashlib.sha256(header + text).digest(), text, *(blob.data for blob in blobs.packed)]
    atomic_write(path, parts)
    return sum(len(part) for part in parts)
