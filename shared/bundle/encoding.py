"""msgpack: deterministic encoding, strict decoding."""

from __future__ import annotations

from typing import Any

import msgpack

from legodnn.shared.bundle.blobs import Buffer
from legodnn.shared.errors import BundleError

MAX_DEPTH_ITEMS = 1 << 20
"""Items of a single list or map, at most: bounds memory on damaged files; far above any network's; not tuned."""


def encode(plain: Any) -> bytes:
    """Plain values as msgpack; equal values give equal bytes, whatever the order of dicts."""
    packed: bytes = msgpack.packb(_sorted(plain), use_bin_type=True)
    return packed


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_sorted(item) for item in value]
    return value


def decode(data: Buffer, what: str) -> Any:
    """The inverse of `encode`. Raises `BundleError` for anything but one whole value with text keys used once."""
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_unique,
            max_array_len=MAX_DEPTH_ITEMS,
            max_map_len=MAX_DEPTH_ITEMS,
        )
    except BundleError:
        raise
    except Exception as error:  # msgpack raises its own kinds, ValueError, UnicodeDecodeError and RecursionError
        raise BundleError(f"{what}: not valid msgpack ({type(error).__name__})") from error


def _unique(pairs: Any) -> Any:
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BundleError("a key appears twice")
    return found
