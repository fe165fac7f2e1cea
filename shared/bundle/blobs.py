"""Blobs: zstd, and byte planes, which make floating-point numbers compressible."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import Dict, Iterable, Iterator, List, Union

import zstandard

from legodnn.shared.bundle.manifest import BlobEntry
from legodnn.shared.errors import BundleError

Buffer = Union[bytes, bytearray, memoryview]
"""Types of bytes that are accepted without a copy."""

SMALL_BYTES, SMALL_LEVEL, LARGE_LEVEL = 1 << 20, 19, 1
"""zstd's levels, and the largest blob for the higher one: programs are small and gain by it, weights do not: level 19
saves 0.1 % of them at a hundredth of the speed."""


def split_planes(data: bytes, size: int) -> bytes:
    """All first bytes of the ``size``-byte numbers in ``data``, then all second bytes, and so on."""
    return b"".join(data[i::size] for i in range(size)) if size > 1 else data


def join_planes(data: Buffer, size: int) -> Buffer:
    """The inverse of `split_planes`. Raises `BundleError` where the length is no multiple of ``size``."""
    if size == 1:
        return data
    count, rest = divmod(len(data), size)
    if rest:
        raise BundleError(f"{len(data)} bytes are not a whole count of {size}-byte numbers")
    joined, planes = bytearray(len(data)), memoryview(data)
    for i in range(size):
        joined[i::size] = planes[i * count : (i + 1) * count]
    return joined


def compress(data: bytes) -> bytes:
    """One zstd frame with its content's size."""
    level = SMALL_LEVEL if len(data) <= SMALL_BYTES else LARGE_LEVEL
    return zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False).compress(data)


def decompress(chunks: Iterable[bytes], size: int) -> bytearray:
    """The content of one zstd frame of exactly ``size`` bytes; never allocates more. Raises `BundleError`.

    The frame comes in chunks, the first of which has its header.
    """
    try:
        return _decompressed(iter(chunks), size)
    except zstandard.ZstdError as error:
        raise BundleError(f"a blob cannot be unpacked: {error}") from error


def _decompressed(chunks: Iterator[bytes], size: int) -> bytearray:
    first = next(chunks, b"")
    declared = zstandard.frame_content_size(first)
    if declared != size:
        raise BundleError(f"a blob declares {declared} bytes where the manifest says {size}")
    content, filled = bytearray(size), 0
    reader = zstandard.ZstdDecompressor().decompressobj()
    for chunk in chain([first], chunks):
        piece = reader.decompress(chunk)
        if filled + len(piece) > size or reader.unused_data:
            raise BundleError(f"a blob holds more than the {size} bytes the manifest says")
        content[filled : filled + len(piece)] = piece
        filled += len(piece)
    if filled != size:
        raise BundleError(f"a blob holds {filled} bytes where the manifest says {size}")
    return content


@dataclass(frozen=True)
class Packed:
    """A blob as stored in the file."""

    data: bytes
    raw_length: int
    codec: str


class BlobStore:
    """Collects blobs for a bundle; equal content is stored once."""

    def __init__(self) -> None:
        self.packed: List[Packed] = []
        self._numbers: Dict[bytes, int] = {}

    def add(self, data: bytes) -> int:
        """Store ``data``, compressed if that is smaller; returns the blob's number."""
        key = hashlib.sha256(data).digest()
        if key not in self._numbers:
            squeezed = compress(data)
            smaller = len(squeezed) < len(data)
            self._numbers[key] = len(self.packed)
            self.packed.append(Packed(squeezed if smaller else data, len(data), "zstd" if smaller else "raw"))
        return self._numbers[key]

    def entries(self) -> List[BlobEntry]:
        """The manifest's entries, for blobs stored one after the other."""
        rows, offset = [], 0
        for blob in self.packed:
            digest = hashlib.sha256(blob.data).digest()
            rows.append(BlobEntry(offset, len(blob.data), blob.raw_length, blob.codec, digest))
            offset += len(blob.data)
        return rows
