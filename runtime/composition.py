"""How a selection is made to run: everything about TorchScript engines lives here.

The chosen segments are loaded unfrozen, put into one module, traced as a whole and frozen, so that what crosses a
segment's border is fused as well. Which *way* of running is fastest depends on device and network and is found by
trying; a result that disagrees with running the segments one by one is never used.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, MutableMapping, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from legodnn.runtime.operators import check_operators, check_program
from legodnn.shared.bundle.archive import join_archive
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import decode_storages
from legodnn.shared.errors import BundleError, CompositionError
from legodnn.shared.tables import Manifest, Segment, Variant

_jit: Any = torch.jit  # typed in some versions of torch and not in others

AGREEMENT = 1e-4
"""How far a fused composition's output may be from the segments run one by one, relative to its norm."""

WARM_UP, TRIAL_ROUNDS = 3, 9


@dataclass(frozen=True)
class Way:
    """A way to run: the layout of images in memory, and whether torch's inference passes are applied."""

    layout: str
    optimized: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format


WAYS = tuple(Way(layout, optimized) for layout in ("contiguous", "channels_last") for optimized in (False, True))


@contextmanager
def _quiet() -> Iterator[None]:
    """TorchScript is deprecated in recent torch and the only engine old devices have: its warnings help nobody."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def torch_version() -> Tuple[int, int]:
    """Major and minor version of the torch that runs here."""
    major, minor = str(torch.__version__).split(".")[:2]
    return int(major), int(minor)


class SegmentLoader:
    """Loads variants of segments in one layout; a variant in use is loaded once."""

    def __init__(self, reader: BundleReader, layout: Way) -> None:
        self.reader = reader
        self.way = layout
        self._loaded: MutableMapping[Tuple[str, str], nn.Module] = weakref.WeakValueDictionary()

    def load(self, segment: Segment, variant: Variant) -> nn.Module:
        """A variant as a checked, unfrozen script module. Raises `BundleError` where it is not what it should be."""
        key = (segment.name, variant.name)
        module = self._loaded.get(key)
        if module is None:
            module = self._load(f"{self.reader.path}: {segment.name} {variant.name}", variant)
            self._loaded[key] = module
        return module

    def _load(self, what: str, variant: Variant) -> nn.Module:
        program = self.reader.program(variant.archive)
        check_program(program, what)
        storages = decode_storages(self.reader.blob(variant.archive.tensors), variant.archive.storages)
        archive = join_archive(program, storages, torch_version())
        try:
            with _quiet():
                module: nn.Module = _jit.load(io.BytesIO(archive), map_location="cpu")
        except RuntimeError as error:
            raise BundleError(f"{what}: torch {torch.__version__} cannot load it: {_first_line(error)}") from error
        check_operators(module, what)
        with torch.no_grad():
            return module.eval().to(memory_format=self.way.memory_format)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


class _Chain(nn.Module):
    """Segments run one after the other over the values they pass on."""

    def __init__(self, manifest: Manifest, modules: Sequence[nn.Module], way: Way) -> None:
        super().__init__()
        self.manifest = manifest
        self.parts = nn.ModuleList(modules)
        self.way = way

    def forward(self, *inputs: Tensor) -> Any:
        """The network's outputs, a tuple where there are several."""
        values: Dict[str, Tensor] = {}
        for name, value in zip(self.manifest.network_inputs, inputs):
            values[name] = value.contiguous(memory_format=self.way.memory_format) if value.dim() == 4 else value
        for segment, part in zip(self.manifest.segments, self.parts):
            made = part(*[values[name] for name in segment.inputs])
            values.update(zip(segment.outputs, made if isinstance(made, tuple) else (made,)))
        results = tuple(values[name] for name in self.manifest.network_outputs)
        return results[0] if len(results) == 1 else results


@dataclass
class Composition:
    """The executable network of one selection. Call it with the network's inputs."""

    selection: Mapping[str, str]
    way: Way
    module: Any
    parts: Sequence[nn.Module]

    def __call__(self, *inputs: Tensor) -> Any:
        """The network's outputs for a batch of inputs."""
        with torch.no_grad():
            return self.module(*inputs)


class Composer:
    """Makes compositions of a bundle in the fastest way there is on this device."""

    def __init__(self, reader: BundleReader, sample: Sequence[Tensor]) -> None:
        self.reader = reader
        self.sample = list(sample)
        self.way: Optional[Way] = None
        self._loaders: Dict[Way, SegmentLoader] = {}

    def compose(self, selection: Mapping[str, str], way: Optional[Way] = None) -> Composition:
        """A warmed-up composition that agrees with its segments run one by one.

        Raises `SelectionError` for a selection the bundle does not have, `BundleError` for damaged parts, and
        `CompositionError` where it cannot be made to run or gives something else than it should.
        """
        way = way or self.way or self.find_way()
        # Layouts only differ in how weights lie: passes run later do not touch the loaded segments.
        loader = self._loaders.setdefault(Way(way.layout, False), SegmentLoader(self.reader, way))
        manifest = self.reader.manifest
        variants = manifest.chosen(selection)
        parts = [loader.load(s, v) for s, v in zip(manifest.segments, variants)]
        chain = _Chain(manifest, parts, way).eval()
        try:
            with _quiet():
                expected = chain(*self.sample)
                module = _jit.freeze(_jit.trace(chain, tuple(self.sample), check_trace=False).eval())
                if way.optimized:
                    module = _jit.optimize_for_inference(module)
                for _ in range(WARM_UP):
                    answer = module(*self.sample)
        except RuntimeError as error:
            raise CompositionError(f"a composition cannot be made to run ({way}): {_first_line(error)}") from error
        _require_agreement(_tensors(answer), _tensors(expected), way)
        return Composition(dict(selection), way, module, parts)

    def find_way(self) -> Way:
        """Try all ways on the teacher, keep the fastest that works and remember it."""
        candidates: List[Composition] = []
        for way in WAYS:
            try:
                candidates.append(self.compose(self.reader.manifest.original_selection, way))
            except CompositionError as error:
                reason = error
        if not candidates:
            raise reason
        seconds = time_interleaved(candidates, self.sample, TRIAL_ROUNDS)
        self.way = min(zip(seconds, candidates), key=lambda pair: pair[0])[1].way
        self._loaders = {key: value for key, value in self._loaders.items() if key.layout == self.way.layout}
        return self.way


def time_interleaved(compositions: Sequence[Composition], inputs: Sequence[Tensor], rounds: int) -> List[float]:
    """The median seconds of each composition; all take turns, so that a disturbance meets all alike."""
    seconds: List[List[float]] = [[] for _ in compositions]
    for _ in range(rounds):
        for record, composition in zip(seconds, compositions):
            started = time.perf_counter()
            composition(*inputs)
            record.append(time.perf_counter() - started)
    return [statistics.median(record) for record in seconds]


def _tensors(value: Any) -> List[Tensor]:
    return list(value) if isinstance(value, tuple) else [value]


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of what is expected; infinite where it is not finite."""
    if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
        return float("inf")
    difference = float((found.double() - expected.double()).norm())
    return difference / max(float(expected.double().norm()), 1e-12)


def _require_agreement(found: Sequence[Tensor], expected: Sequence[Tensor], way: Way) -> None:
    for mine, wanted in zip(found, expected):
        error = relative_error(mine, wanted)
        if not error <= AGREEMENT:
            raise CompositionError(f"a fused composition ({way}) is off by {error:.1e} from its segments")
