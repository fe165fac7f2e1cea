"""Writing a bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import Path
from typing import Union

from legodnn.shared.bundle.blobs import BlobStore
from legodnn.shared.bundle.encoding import encode
from legodnn.shared.files import atomic_write
from legodnn.shared.tables import Manifest

MAGIC = b"\x89LGB\r\n\x1a\n"
MAJOR, MINOR = 1, 1
HEADER = struct.Struct("<8sHHQ")
DIGEST_BYTES = 32
MAX_MANIFEST_BYTES = 64 * 1024**2


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
