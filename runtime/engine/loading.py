"""Variants of segments: read from the bundle, checked, and made ready to be joined."""

from __future__ import annotations

import io
import os
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator, Mapping, MutableMapping, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from legodnn.runtime.engine.backends.known import ENGINES
from legodnn.runtime.engine.compare import require_agreement, tensors
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.runtime.engine.paged import Paged, paged, unpaged_bytes
from legodnn.runtime.engine.ways import Way
from legodnn.shared.bundle.archive import write_archive
from legodnn.shared.bundle.manifest import Segment, Variant
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import decode_storages
from legodnn.shared.errors import BundleError, CompositionError, one_line
from legodnn.shared.programs.operators import check_operators, check_program

_jit: Any = torch.jit  # typed in some versions of torch and not in others
_Key = Tuple[str, str]


class Part:
    """A variant ready to be joined: its graph, whose weights are constants, and itself as a function.

    ``pages`` has those weights where they are on disk; ``bytes`` are those that are in memory all the time.
    """

    def __init__(self, graph: Any, pages: Optional[Paged] = None) -> None:
        self.graph = graph
        self.pages = pages
        self.bytes = unpaged_bytes(graph, pages)

    def __call__(self, *inputs: Tensor) -> Any:
        """What the segment returns."""
        # A function that is kept would keep the plans and copies of graphs that the executor makes for it.
        return function_of(self.graph.copy())(*inputs)

    def rest(self) -> None:
        """The weights are not read for now."""
        if self.pages is not None:
            self.pages.rest()


class SegmentLoader:
    """Loads variants for one way to run; a variant in use is loaded once.

    To load one takes half as long as all else a composition takes, and much of it keeps other threads from Python's
    interpreter. So variants whose weights are on disk stay loaded while they need no more memory than they are let.
    """

    def __init__(self, reader: BundleReader, way: Way) -> None:
        self.reader = reader
        self.way = way
        self._engine = ENGINES[way.engine]
        self._loaded: MutableMapping[_Key, Part] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()  # of what is kept: limits come from other threads than parts
        self._kept: "OrderedDict[_Key, Part]" = OrderedDict()
        self._limit = 0.0

    def has(self, segment: Segment, variant: Variant) -> bool:
        """Whether a variant is loaded."""
        return (segment.name, variant.name) in self._loaded

    def load(self, segment: Segment, variant: Variant, inputs: Sequence[Tensor]) -> Part:
        """A variant as a checked program; ``inputs`` are what it gets in the composition it is loaded for.

        Raises `BundleError` where it is not what it should be, `CompositionError` where it cannot be made to run.
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
        """Load a variant that stays loaded; whether it does."""
        if not self._stays:
            return False
        self.load(segment, variant, []).rest()
        return self.has(segment, variant)

    def keep_within(self, limit: float) -> None:
        """Keep what is loaded while it has no more than these bytes in memory; what was used longest ago goes first."""
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
        """Whether the programs that are joined have their weights on disk, rather than reordered in memory."""
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
        file.seek(0)  # writes what is still in a buffer, too

    def _prepared(self, what: str, module: Any, inputs: Sequence[Tensor]) -> Part:
        with quiet():
            graph = graph_of(module, self.way)
        if graph is None:
            raise CompositionError(f"{what}: it has attributes that cannot be made constants")
        engine = self._engine
        plain = Part(graph, paged(graph) if engine.keeps else None)
        if engine.pack is None:
            return plain
        with quiet():
            packed = Part(engine.pack(graph, inputs), plain.pages)
            require_agreement(tensors(packed(*inputs)), tensors(plain(*inputs)), f"{what}, {self.way},")
        return packed


@contextmanager
def _file() -> Iterator[Tuple[BinaryIO, Any]]:
    """A file in memory, and what torch is to read it by.

    Of what is no real file torch makes two more copies. Where the system has no files in memory it is a buffer.
    """
    with _real_file() or io.BytesIO() as file:
        yield file, file if isinstance(file, io.BytesIO) else _name(file.fileno())


def _real_file() -> Optional[BinaryIO]:
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return open(os.memfd_create("legodnn"), "w+b")
    except OSError:
        return None


def _name(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def graph_of(module: Any, way: Way) -> Any:
    """A module's graph with its weights as constants, laid out for a way; None where something cannot be a constant."""
    graph = _jit.freeze(module.to(memory_format=way.memory_format)).graph.copy()
    if next(iter(graph.inputs())).uses():
        return None
    graph.eraseInput(0)
    return graph


def torch_version() -> Tuple[int, int]:
    """Major and minor version of the torch that runs here."""
    major, minor = str(torch.__version__).split(".")[:2]
    return int(major), int(minor)
