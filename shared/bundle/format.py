"""The header of a bundle, and its bounds."""

from __future__ import annotations

import struct

MAGIC = b"\x89LGB\r\n\x1a\n"
MAJOR, MINOR = 1, 2

HEADER = struct.Struct("<8sHHQ")
"""Magic, major and minor version, length of the manifest."""

DIGEST_BYTES = 32
"""Of SHA-256, over the header and the manifest."""

MAX_MANIFEST_BYTES = 64 * 1024**2
"""Bounds memory on damaged files: manifests have some kilobytes per segment; not tuned."""
