"""TorchScript archives split into program and tensors, and joined again.

An archive is a zip file: ``data.pkl`` and code describe the module, ``data/N`` and ``constants/N`` are raw storages.
What depends on where and when it was made is dropped (source paths in debug records, times of zip entries) or made
canonical, see `canonical`.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import BinaryIO, Dict, Mapping, Tuple

from legodnn.shared.bundle.blobs import Buffer
from legodnn.shared.bundle.canonical import canonical
from legodnn.shared.bundle.encoding import decode, encode
from legodnn.shared.errors import BundleError

_STORAGE = re.compile(r"(data|constants)/\d+\Z")
_DROPPED = re.compile(
    r".*\.debug_pkl\Z|\.data/.*|byteorder\Z|\.format_version\Z|\.storage_alignment\Z|traced_inputs(\.pkl|/.*)\Z"
)
_NEW_VERSION = ".data/version"
_PROGRAM_PATH = re.compile(r"[\w./-]+\Z")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OLD_VERSION = b"3\n"
_LOWERED_BELOW = (1, 12)


def split_archive(data: bytes) -> Tuple[Dict[str, bytes], Dict[str, bytes]]:
    """The canonical files of the program and the raw storages, by path below the archive's folder."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    if _NEW_VERSION in files:  # written for programs with operators whose meaning has changed
        files["version"] = files[_NEW_VERSION]
    storages = {path: files[path] for path in sorted(files) if _STORAGE.match(path)}
    program = {path: content for path, content in files.items() if path not in storages and not _DROPPED.match(path)}
    return canonical(program), storages


def pack_program(program: Mapping[str, bytes]) -> bytes:
    """A program's files as one blob."""
    return encode(dict(program))


def unpack_program(data: Buffer) -> Dict[str, bytes]:
    """The inverse of `pack_program`. Raises `BundleError` for anything but files with relative paths."""
    program = decode(data, "program")
    if not isinstance(program, dict) or not all(isinstance(content, bytes) for content in program.values()):
        raise BundleError("a program is not a table of files")
    for path in program:
        if not _PROGRAM_PATH.match(path) or ".." in path or path.startswith("/"):
            raise BundleError(f"a program with a file called {path[:60]!r}")
        if _STORAGE.match(path):
            raise BundleError(f"a program that brings its own storage {path}")
    return program


def join_archive(program: Mapping[str, bytes], storages: Mapping[str, Buffer], torch_version: Tuple[int, int]) -> bytes:
    """An archive that ``torch.jit.load`` of a (major, minor) version reads. Raises as `write_archive` does."""
    buffer = io.BytesIO()
    write_archive(buffer, program, storages, torch_version)
    return buffer.getvalue()


def write_archive(
    file: BinaryIO, program: Mapping[str, bytes], storages: Mapping[str, Buffer], torch_version: Tuple[int, int]
) -> None:
    """Write such an archive to a file. Raises `BundleError` for a program without its records."""
    files: Dict[str, Buffer] = {**program, **storages}
    if torch_version < _LOWERED_BELOW:
        files["version"] = _OLD_VERSION
    if not {"data.pkl", "version", "constants.pkl"} <= set(files):
        raise BundleError("a program without its data, constants or version record")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            archive.writestr(zipfile.ZipInfo(f"segment/{path}", _EPOCH), files[path])
