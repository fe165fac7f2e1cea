"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) from a folder of IDX files, compressed or not.

The folder is named by the environment variable ``FASHION_MNIST``; by default it is where Debian's package
``dataset-fashion-mnist`` puts it. Images become float32 (n, 3, 32, 32): scaled to [0, 1], resized bilinearly,
normalised with `MEAN` and `STD`, the one channel three times.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from legodnn.shared.errors import DataError

MEAN, STD = 0.2860, 0.3530
LABELS = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

_DEFAULT_FOLDER = "/usr/share/datasets/fashion-mnist"
_PREFIX = {"train": "train", "test": "t10k"}
_UINT8 = 0x08


def folder() -> Path:
    """The folder of the IDX files."""
    return Path(os.environ.get("FASHION_MNIST", _DEFAULT_FOLDER))


def read_idx(name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of bytes, ``name`` or ``name.gz``, with this many dimensions.

    Raises `DataError` for a file that is missing, cut off or something else.
    """
    path = folder() / name
    if not path.exists():
        path = folder() / f"{name}.gz"
    if not path.exists():
        raise DataError(f"{path}: no such file; install dataset-fashion-mnist or point FASHION_MNIST to a folder")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, or cut off: {error}") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UINT8:
        raise DataError(f"{path}: not an IDX file of bytes")
    if data[3] != dimensions:
        raise DataError(f"{path}: {data[3]} dimensions where {dimensions} are expected; is it another file's copy?")
    header = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", data[4:header]) if len(data) >= header else ()
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise DataError(f"{path}: {len(data)} bytes where its header says {expected}; cut off?")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def images(split: str, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) float32 and labels (n,) int64 of ``train`` or ``test``, from ``first`` up to ``last``.

    Raises `DataError` for files that are not what they should be, and where there are fewer images.
    """
    grey, labels = pixels(split, first, last)
    x = torch.from_numpy(grey.copy()).float().unsqueeze(1) / 255
    x = F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
    x = ((x - MEAN) / STD).repeat(1, 3, 1, 1).contiguous()
    return x, torch.from_numpy(labels.astype(np.int64))


def pixels(split: str, first: int, last: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,) as they are in the files; as `images` otherwise."""
    found = read_idx(f"{_PREFIX[split]}-images-idx3-ubyte", 3)
    labels = read_idx(f"{_PREFIX[split]}-labels-idx1-ubyte", 1)
    if len(found) != len(labels):
        raise DataError(f"{folder()}: {len(found)} {split} images but {len(labels)} labels")
    if not 0 <= first < last <= len(labels):
        raise DataError(f"{split} images from {first} up to {last} asked for, there are {len(labels)}")
    return found[first:last], labels[first:last]


def train_loader(count: int = 4096, batch: int = 128) -> DataLoader[tuple[Tensor, ...]]:
    """The first ``count`` training images, in a random order."""
    return DataLoader(TensorDataset(*images("train", 0, count)), batch_size=batch, shuffle=True)


def test_loader(first: int = 0, last: int = 2000, batch: int = 128) -> DataLoader[tuple[Tensor, ...]]:
    """Test images from ``first`` up to ``last``, in order."""
    return DataLoader(TensorDataset(*images("test", first, last)), batch_size=batch)
