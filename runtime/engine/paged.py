"""Weights in a mapped file, which are on disk until they are read.

Programs compiled by oneDNN or packed by XNNPACK compute with their own copies of the weights; the originals are read
again only for a batch of another size or when another composition is compiled. So they are in an unnamed file, mapped
into memory, and the system is told to drop their pages once a composition has been made.
"""

from __future__ import annotations

import tempfile
from typing import Any, List, Optional

import torch
from torch import Tensor

from legodnn.runtime.device.cache import cache_folder
from legodnn.shared import platform

LEAST_BYTES = 1 << 10
"""Smaller tensors stay in memory: a quarter of a page each, not worth a mapping; not tuned."""

_ALIGNMENT = 64
"""Bytes: that of torch's own allocations on CPUs."""


class Paged:
    """The large constants of a graph in a mapped file: in memory until `rest`, and again once they are read."""

    def __init__(self, pages: Tensor) -> None:
        self._pages = pages

    def rest(self) -> None:
        """Tell the system to drop the pages from memory."""
        platform.drop_pages(self._pages.data_ptr(), self._pages.numel())


def paged(graph: Any) -> Optional[Paged]:
    """Move a graph's large constants to a file; None, with nothing changed, where it has none or there is no disk."""
    tensors = [t for t in _constants(graph) if _large(t)]
    if not tensors or not platform.drops_pages():
        return None
    offsets, end = [], 0
    for tensor in tensors:
        offsets.append(end)
        end += -(-_bytes(tensor) // _ALIGNMENT) * _ALIGNMENT
    pages = _pages(end)
    if pages is None:
        return None
    for tensor, offset in zip(tensors, offsets):
        flat = pages[offset : offset + _bytes(tensor)].view(tensor.dtype)
        tensor.data = flat.as_strided(tensor.size(), tensor.stride()).copy_(tensor)
    return Paged(pages)


def unpaged_bytes(graph: Any, pages: Optional[Paged]) -> int:
    """Bytes of a graph's constants that are not paged."""
    return sum(_bytes(t) for t in _constants(graph) if pages is None or not _large(t))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _large(tensor: Tensor) -> bool:
    return _bytes(tensor) >= LEAST_BYTES


def _constants(graph: Any) -> List[Tensor]:
    found = []
    for node in graph.findAllNodes("prim::Constant"):
        if node.output().type().kind() == "TensorType" and node.hasAttribute("value"):
            found.append(node.t("value"))
    return [t for t in found if t.layout == torch.strided and _is_dense(t)]


def _is_dense(tensor: Tensor) -> bool:
    """Whether its elements fill one contiguous range of memory."""
    images = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.is_contiguous() or images


def _pages(length: int) -> Optional[Tensor]:
    """The bytes of a new mapped file, freed with the last reference; None without a disk. No descriptor stays open."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)) as file:
            if not platform.on_disk(file.fileno()):
                return None
            # On a full disk, writing into the pages would end the process with SIGBUS.
            platform.reserve(file.fileno(), length)
            path = platform.descriptor_path(file.fileno())
            return torch.from_file(path, shared=True, size=length, dtype=torch.uint8)
    except (OSError, RuntimeError):
        return None
