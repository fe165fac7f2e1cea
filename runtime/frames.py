"""Frames as raw tensors from a file or from standard input, so that a camera can be piped in."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import BinaryIO, Iterator, Optional

from torch import Tensor

from legodnn.shared.bundle.tensors import tensor_from_bytes
from legodnn.shared.errors import InputError
from legodnn.shared.tables import InputSpec


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    with open(source, "rb") as file:
        yield file


def read_frames(source: str, spec: InputSpec, limit: Optional[int] = None) -> Iterator[Tensor]:
    """Frames from a file, or from standard input for ``-``, each as a batch of one.

    A frame is the network's input without the batch dimension, its elements row by row, little-endian. Raises
    `InputError` for an input that ends within a frame or holds none, `OSError` where it cannot be read.
    """
    size = spec.frame.bytes
    number = 0
    with _opened(source) as stream:
        while limit is None or number < limit:
            data = _read_whole(stream, size)
            if not data:
                break
            if len(data) < size:
                raise InputError(f"{source}: frame {number} has {len(data)} bytes, a {_text(spec)} frame has {size}")
            number += 1
            yield tensor_from_bytes(data, (1, *spec.frame.shape), spec.dtype)
    if number == 0:
        raise InputError(f"{source}: no frames; a {_text(spec)} frame has {size} bytes")


def _read_whole(stream: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes; fewer only at the end, however a pipe hands them out."""
    parts = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _text(spec: InputSpec) -> str:
    return f"{'x'.join(str(s) for s in spec.frame.shape)} {spec.dtype}"
