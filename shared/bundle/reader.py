"""`BundleReader`: reads a bundle lazily, and checks everything before its use."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Iterator, Optional, Set, Tuple, Type, Union

from legodnn.shared.bundle.archive import join_archive, unpack_program
from legodnn.shared.bundle.blobs import Buffer, decompress
from legodnn.shared.bundle.encoding import decode
from legodnn.shared.bundle.format import DIGEST_BYTES, HEADER, MAGIC, MAJOR, MAX_MANIFEST_BYTES, MINOR
from legodnn.shared.bundle.manifest import Archive, BlobEntry, Manifest
from legodnn.shared.errors import BundleError, BundleVersionError

CHUNK_BYTES = 1 << 16
"""Bytes read at a time, so that a stored blob is never in memory as a whole; not tuned. Files are not mapped, since
pages
once read count as the process's memory."""


class BundleReader:
    """An open bundle. Opening reads the manifest only; blobs are read, and their hashes checked, on first use.

    Raises `BundleError` with the file's name for anything that is not a whole bundle, `OSError` where the file cannot
    be read. Use it as a context manager, or call `close`.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        self.path = Path(path)
        self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115  (closed by `close`)
        self._reading = threading.Lock()
        self._trusted: Set[int] = set()
        try:
            size = os.fstat(self._file.fileno()).st_size
            self.manifest, self.digest, self._start = self._read_manifest(size)
            self._check_layout(size)
        except BundleError as error:
            self.close()
            raise type(error)(f"{self.path}: {error}") from None

    def _read_manifest(self, size: int) -> Tuple[Manifest, str, int]:
        if size < HEADER.size + DIGEST_BYTES:
            raise BundleError(f"{size} bytes are too few for a bundle")
        header = self._read(0, HEADER.size)
        magic, major, minor, length = HEADER.unpack(header)
        if magic != MAGIC:
            raise BundleError("not a LegoDNN bundle (its first bytes are others)")
        if major != MAJOR:
            raise BundleVersionError(f"format version {major}.{minor}, but this program reads {MAJOR}.x; update it")
        if length > MAX_MANIFEST_BYTES:
            raise BundleError(f"declares a manifest of {length} bytes, more than the {MAX_MANIFEST_BYTES} allowed")
        start = HEADER.size + DIGEST_BYTES
        if start + length > size:
            raise BundleError(f"cut off: {size} bytes, but the manifest alone ends at {start + length}")
        digest, text = self._read(HEADER.size, DIGEST_BYTES), self._read(start, length)
        if hashlib.sha256(header + text).digest() != digest:
            raise BundleError("damaged: header or manifest do not match their hash")
        try:
            manifest = Manifest.from_plain(decode(text, "manifest"))
            manifest.check()
        except BundleError as error:
            if minor > MINOR:
                known = f"this program reads {MAJOR}.{MINOR} and what it knows of later ones"
                raise BundleVersionError(f"format version {major}.{minor}, but {known} ({error}); update it") from None
            raise
        return manifest, digest.hex(), start + length

    def _check_layout(self, size: int) -> None:
        """Require blobs without gaps or overlaps that end at the end of the file."""
        offset = 0
        for number, entry in enumerate(self.manifest.blobs):
            if entry.offset != offset:
                raise BundleError(f"blob {number} begins at {entry.offset}, not where the one before ends ({offset})")
            offset += entry.length
        if self._start + offset != size:
            raise BundleError(f"{size} bytes long where its tables say {self._start + offset}: cut off or added to")

    def blob(self, number: int) -> Buffer:
        """A blob's content. Raises `BundleError` where it does not match its hash or its declared size."""
        entry = self.manifest.blobs[number]
        self._require_hash(number)
        if entry.codec == "raw":
            return self._read(self._start + entry.offset, entry.length)
        try:
            return decompress(self._chunks(entry), entry.raw_length)
        except BundleError as error:
            raise BundleError(f"{self.path}: blob {number}: {error}") from None

    def _require_hash(self, number: int) -> None:
        if number in self._trusted:
            return
        entry, found = self.manifest.blobs[number], hashlib.sha256()
        for chunk in self._chunks(entry):
            found.update(chunk)
        if found.digest() != entry.sha256:
            raise BundleError(f"{self.path}: damaged: blob {number} does not match its hash")
        self._trusted.add(number)

    def _chunks(self, entry: BlobEntry) -> Iterator[bytes]:
        """A blob as stored in the file, in chunks."""
        for done in range(0, entry.length, CHUNK_BYTES):
            yield self._read(self._start + entry.offset + done, min(CHUNK_BYTES, entry.length - done))

    def _read(self, begin: int, length: int) -> bytes:
        with self._reading:
            self._file.seek(begin)
            found = self._file.read(length)
            while len(found) < length:  # a call may return less than requested
                more = self._file.read(length - len(found))
                if not more:
                    raise BundleError(f"{self.path}: it has become shorter since it was opened")
                found += more
        return found

    def program(self, archive: Archive) -> "dict[str, bytes]":
        """The files of an archive's program, by path."""
        return unpack_program(self.blob(archive.program))

    def archive(self, archive: Archive, torch_version: Tuple[int, int]) -> bytes:
        """An archive for ``torch.jit.load`` of a (major, minor) version."""
        from legodnn.shared.bundle.tensors import decode_storages  # imports torch, which opening does not need

        storages = decode_storages(self.blob(archive.tensors), archive.storages)
        return join_archive(self.program(archive), storages, torch_version)

    def verify(self) -> None:
        """Check the hash of every blob. Raises `BundleError`."""
        for number in range(len(self.manifest.blobs)):
            self._require_hash(number)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "BundleReader":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
