"""Variants of segments: read from the bundle, checked, and made ready to be joined."""

from __future__ import annotations

import io
import weakref
from typing import Any, MutableMapping, Sequence, Tuple

import torch
from torch import Tensor, nn

from legodnn.runtime.composition import prepacked
from legodnn.runtime.composition.agreement import require_agreement, tensors
from legodnn.runtime.composition.joining import function_of, quiet
from legodnn.runtime.composition.ways import Way
from legodnn.runtime.operators import check_operators, check_program
from legodnn.shared.bundle.archive import join_archive
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import decode_storages
from legodnn.shared.errors import BundleError, CompositionError, one_line
from legodnn.shared.tables import Segment, Variant

_jit: Any = torch.jit  # typed in some versions of torch and not in others


class Part:
    """A variant ready to be joined: its graph, whose weights are constants, and itself as a function."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._function = function_of(graph.copy())

    def __call__(self, *inputs: Tensor) -> Any:
        """What the segment returns."""
        return self._function(*inputs)


class SegmentLoader:
    """Loads variants for one way to run; a variant in use is loaded once."""

    def __init__(self, reader: BundleReader, way: Way) -> None:
        self.reader = reader
        self.way = way
        self._loaded: MutableMapping[Tuple[str, str], Part] = weakref.WeakValueDictionary()

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
        return part

    def _module(self, what: str, variant: Variant) -> Any:
        program = self.reader.program(variant.archive)
        check_program(program, what)
        storages = decode_storages(self.reader.blob(variant.archive.tensors), variant.archive.storages)
        archive = join_archive(program, storages, torch_version())
        try:
            with quiet():
                module: nn.Module = _jit.load(io.BytesIO(archive), map_location="cpu")
        except RuntimeError as error:
            raise BundleError(f"{what}: torch {torch.__version__} cannot load it: {one_line(error)}") from error
        check_operators(module, what)
        return module.eval()

    def _prepared(self, what: str, module: Any, inputs: Sequence[Tensor]) -> Part:
        with quiet():
            graph = _jit.freeze(module.to(memory_format=self.way.memory_format)).graph.copy()
        own = next(iter(graph.inputs()))
        if own.uses():
            raise CompositionError(f"{what}: it has attributes that cannot be made constants")
        graph.eraseInput(0)
        plain = Part(graph)
        if self.way.engine != "prepacked":
            return plain
        with quiet():
            packed = Part(prepacked.packed(graph, inputs))
            require_agreement(tensors(packed(*inputs)), tensors(plain(*inputs)), f"{what}, {self.way},")
        return packed


def torch_version() -> Tuple[int, int]:
    """Major and minor version of the torch that runs here."""
    major, minor = str(torch.__version__).split(".")[:2]
    return int(major), int(minor)
