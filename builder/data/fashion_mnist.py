"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) from a folder of IDX files, compressed or not.

The folder is named by the environment variable ``FASHION_MNIST``; by default it is where Debian's package
``dataset-fashion-mnist`` puts it. Images become float32 (n, 3, 32, 32): scaled to [0, 1], resized bilinearly,
normalised with `MEAN` and `STD`, the one channel three times.
"""

from __future__ import annotations

import gzip
import os
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
    """Where the IDX files are."""
    return Path(os.environ.get("FASHION_MNIST", _DEFAULT_FOLDER))


def read_idx(name: str) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of bytes, ``name`` or ``name.gz``. Raises `DataError` for anything else."""
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
    rank = data[3]
    shape = np.frombuffer(data, ">u4", count=rank, offset=4) if len(data) >= 4 + 4 * rank else np.zeros(0, ">u4")
    expected = 4 + 4 * rank + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise DataError(f"{path}: {len(data)} bytes where its header says {expected}; cut off?")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape([int(s) for s in shape])


def images(split: str, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) float32 and labels (n,) int64 of ``train`` or ``test``, from ``first`` up to ``last``."""
    pixels = read_idx(f"{_PREFIX[split]}-images-idx3-ubyte")[first:last]
    labels = read_idx(f"{_PREFIX[split]}-labels-idx1-ubyte")[first:last]
    x = torch.from_numpy(pixels.copy()).float().unsqueeze(1) / 255
    x = F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False)
    x = ((x - MEAN) / STD).repeat(1, 3, 1, 1).contiguous()
    return x, torch.from_numpy(labels.astype(np.int64))


def train_loader(count: int = 4096, batch: int = 128) -> DataLoader[tuple[Tensor, ...]]:
    """The first ``count`` training images, in a random order."""
    return DataLoader(TensorDataset(*images("train", 0, count)), batch_size=batch, shuffle=True)


def test_loader(first: int = 0, last: int = 2000, batch: int = 128) -> DataLoader[tuple[Tensor, ...]]:
    """Test images from ``first`` up to ``last``, in order."""
    return DataLoader(TensorDataset(*images("test", first, last)), batch_size=batch)
