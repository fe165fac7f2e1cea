"""Variants of segments: read from the bundle, checked, and turned into programs that can be joined."""

from __future__ import annotations

import io
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator, Mapping, MutableMapping, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from legodnn.runtime.engine.backend import Backend
from legodnn.runtime.engine.backends.known import ENGINES
from legodnn.runtime.engine.compare import require_agreement, tensors
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.runtime.engine.paged import Paged, paged, unpaged_bytes
from legodnn.shared.bundle.archive import write_archive
from legodnn.shared.bundle.manifest import Segment, Variant
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import decode_storages
from legodnn.shared.errors import BundleError, CompositionError, one_line
from legodnn.shared.platform import descriptor_path, file_in_memory
from legodnn.shared.programs.operators import check_operators, check_program

_jit: Any = torch.jit  # typed in some versions of torch and not in others
_Key = Tuple[str, str]


class Part:
    """A variant that can be joined: its graph, whose weights are constants; calling it runs the graph.

    ``pages`` has the weights that are on disk, if any; ``bytes`` counts those that stay in memory.
    """

    def __init__(self, graph: Any, pages: Optional[Paged] = None) -> None:
        self.graph = graph
        self.pages = pages
        self.bytes = unpaged_bytes(graph, pages)

    def __call__(self, *inputs: Tensor) -> Any:
        """The segment's outputs."""
        # A new function each time: the executor's plans and copies of graphs live as long as the function.
        return function_of(self.graph.copy())(*inputs)

    def rest(self) -> None:
        """Drop paged weights from memory until they are read again."""
        if self.pages is not None:
            self.pages.rest()


class SegmentLoader:
    """Loads variants for one backend; a variant in use is loaded once.

    Loading one takes half as long as the rest of making a composition, and holds Python's interpreter lock for much of
    it. So variants whose weights are paged stay loaded, in least recently used order, within a limit of bytes.
    """

    def __init__(self, reader: BundleReader, backend: Backend) -> None:
        self.reader = reader
        self.backend = backend
        self._engine = ENGINES[backend.engine]
        self._loaded: MutableMapping[_Key, Part] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()  # for _kept: limits are set by other threads than those that load
        self._kept: "OrderedDict[_Key, Part]" = OrderedDict()
        self._limit = 0.0

    def has(self, segment: Segment, variant: Variant) -> bool:
        """Whether a variant is loaded."""
        return (segment.name, variant.name) in self._loaded

    def load(self, segment: Segment, variant: Variant, inputs: Sequence[Tensor]) -> Part:
        """A variant as a checked program; ``inputs`` are its inputs in the composition it is loaded for.

        Raises `BundleError` where it is damaged or not allowed, `CompositionError` where it cannot run.
        """
        key = (segment.name, variant.name)
        part = self._loaded.get(key)
        if part is None:
            what = f"{self.reader.path}: {segment.name} {variant.name}"
            part = self._prepared(what, self._module(what, variant), inputs)
            self._loaded[key] = part
        if self._stays:
            with self._lock:
                self._kept[key] = part
                self._kept.move_to_end(key)
            self.keep_within(self._limit)
        return part

    def load_ahead(self, segment: Segment, variant: Variant) -> bool:
        """Load a variant if it would stay loaded; returns whether it does."""
        if not self._stays:
            return False
        self.load(segment, variant, []).rest()
        return self.has(segment, variant)

    def keep_within(self, limit: float) -> None:
        """Set the limit of bytes for variants that stay loaded; the least recently used are evicted first."""
        self._limit = limit
        with self._lock:
            while self._kept and self.kept_bytes > limit:
                self._kept.popitem(last=False)

    @property
    def kept_bytes(self) -> int:
        """Bytes in memory of the variants that stay loaded."""
        with self._lock:
            return sum(part.bytes for part in self._kept.values())

    @property
    def _stays(self) -> bool:
        """Whether loaded variants have their weights on disk, rather than reordered in memory."""
        return self._engine.keeps and self._engine.pack is None

    def _module(self, what: str, variant: Variant) -> Any:
        program = self.reader.program(variant.archive)
        check_program(program, what)
        try:
            with quiet(), _file() as (file, name):
                self._write(program, variant, file)
                module: nn.Module = _jit.load(name, map_location="cpu")
        except RuntimeError as error:
            raise BundleError(f"{what}: torch {torch.__version__} cannot load it: {one_line(error)}") from error
        check_operators(module, what)
        return module.eval()

    def _write(self, program: Mapping[str, bytes], variant: Variant, file: BinaryIO) -> None:
        """Write a variant's archive; no copy of its weights outlives this."""
        storages = decode_storages(self.reader.blob(variant.archive.tensors), variant.archive.storages)
        write_archive(file, program, storages, torch_version())
        file.seek(0)  # flushes the buffer, too

    def _prepared(self, what: str, module: Any, inputs: Sequence[Tensor]) -> Part:
        with quiet():
            graph = graph_of(module, self.backend)
        if graph is None:
            raise CompositionError(f"{what}: it has attributes that cannot be made constants")
        engine = self._engine
        plain = Part(graph, paged(graph) if engine.keeps else None)
        if engine.pack is None:
            return plain
        with quiet():
            packed = Part(engine.pack(graph, inputs), plain.pages)
            require_agreement(tensors(packed(*inputs)), tensors(plain(*inputs)), f"{what}, {self.backend},")
        return packed


@contextmanager
def _file() -> Iterator[Tuple[BinaryIO, Any]]:
    """A file in memory, and the path or buffer by which torch reads it.

    From a buffer torch makes two more copies, so it is one only where the system has no files in memory.
    """
    with file_in_memory("legodnn") or io.BytesIO() as file:
        yield file, file if isinstance(file, io.BytesIO) else descriptor_path(file.fileno())


def graph_of(module: Any, backend: Backend) -> Any:
    """A module's graph with its weights as constants in the backend's layout; None where an attribute stays one."""
    graph = _jit.freeze(module.to(memory_format=backend.memory_format)).graph.copy()
    if next(iter(graph.inputs())).uses():
        return None
    graph.eraseInput(0)
    return graph


def torch_version() -> Tuple[int, int]:
    """Major and minor version of torch."""
    major, minor = str(torch.__version__).split(".")[:2]
    return int(major), int(minor)
