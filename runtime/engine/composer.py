"""`Composer`: compositions of a bundle, checked, in the fastest way there is on this device."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.runtime.device.allocator import trim
from legodnn.runtime.engine.backends.known import ENGINES
from legodnn.runtime.engine.compare import require_agreement, tensors
from legodnn.runtime.engine.denormals import run_flushing
from legodnn.runtime.engine.joining import function_of, joined, quiet
from legodnn.runtime.engine.loading import Part, SegmentLoader
from legodnn.runtime.engine.timing import time_turns
from legodnn.runtime.engine.ways import WAYS, Way
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import CompositionError, one_line

WARM_UP = 3
FEWEST_TRIALS, MOST_TRIALS, TRIAL_SECONDS = 3, 7, 0.2
RECENT = 64

Progress = Callable[[int, int], None]
"""Called with how much of what takes long is done, and how much there is."""

Between = Callable[[], None]
"""Called after every segment that is loaded while a composition is made."""


def nothing() -> None:
    """What is done between segments where nobody asks for more."""


def warmed_up(graph: Any, way: Way, inputs: Sequence[Tensor]) -> Tuple[Any, Any]:
    """A joined program as a function that has run as often as it changes by it, and what it returns for the inputs."""
    engine = ENGINES[way.engine]
    engine.lower(graph)
    function = function_of(graph)
    with engine.warming():
        for _ in range(WARM_UP):
            answer = function(*inputs)
    return function, answer


@dataclass
class Composition:
    """The executable network of one selection. Call it with the network's inputs.

    ``recent`` has the seconds of its last inferences since it was put in place, as whoever runs it notes them.
    """

    selection: Mapping[str, str]
    way: Way
    function: Any
    parts: Sequence[Part]
    recent: Deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __call__(self, *inputs: Tensor) -> Any:
        """The network's outputs for a batch of inputs."""
        with torch.no_grad():
            return run_flushing(self.function, inputs)


class Composer:
    """Makes compositions of a bundle.

    ``sample`` are the network's inputs compositions are tried and checked with.
    """

    def __init__(self, reader: BundleReader, sample: Sequence[Tensor]) -> None:
        self.reader = reader
        self.sample = list(sample)
        self.way: Optional[Way] = None
        self._loaders: Dict[Way, SegmentLoader] = {}
        self._spare = 0.0
        self._ahead = iter([(s, v) for s in reader.manifest.segments for v in s.variants])

    def compose(
        self, selection: Mapping[str, str], way: Optional[Way] = None, between: Between = nothing
    ) -> Composition:
        """A warmed-up composition that agrees with its segments run one by one.

        It runs in ``way``; by default in the fastest there is, and as it was exported where that fails. Raises
        `SelectionError` for a selection the bundle does not have, `BundleError` for damaged parts, and
        `CompositionError` where it cannot be made to run or gives something else than it should.
        """
        if way is not None:
            return self._compose(selection, way, between)
        way = self.way or self.find_way()
        try:
            return self._compose(selection, way, between)
        except CompositionError:
            plain = Way(way.layout, "plain")
            if way == plain:
                raise
            return self._compose(selection, plain, between)

    def _compose(self, selection: Mapping[str, str], way: Way, between: Between) -> Composition:
        loader = self._loader(way)
        manifest = self.reader.manifest
        variants = manifest.chosen(selection)
        values = {
            name: value.contiguous(memory_format=way.memory_format) if value.dim() == 4 else value
            for name, value in zip(manifest.network_inputs, self.sample)
        }
        parts: List[Part] = []
        try:
            with quiet():
                for segment, variant in zip(manifest.segments, variants):
                    inputs, known = [values[name] for name in segment.inputs], loader.has(segment, variant)
                    parts.append(loader.load(segment, variant, inputs))
                    values.update(zip(segment.outputs, tensors(parts[-1](*inputs))))
                    if not known:
                        trim()  # oneDNN reserves more than it fills: in pages that were used before, all of it counts
                        between()
                graph = joined(manifest, [part.graph for part in parts], way)
                function, answer = warmed_up(graph, way, self.sample)
                for part in parts:
                    part.rest()
        except CompositionError:
            raise
        except RuntimeError as error:
            raise CompositionError(f"a composition cannot be made to run ({way}): {one_line(error)}") from error
        require_agreement(tensors(answer), [values[n] for n in manifest.network_outputs], f"a composition ({way})")
        trim()  # making it takes several times what is left of it
        return Composition(dict(selection), way, function, parts)

    def keep_loaded(self, spare: float) -> None:
        """Let variants that were loaded for the way that was found stay so within these bytes."""
        self._spare = spare
        for way in list(self._loaders):
            self._loader(way)

    @property
    def kept_bytes(self) -> int:
        """Bytes in memory of the variants that stay loaded."""
        return sum(loader.kept_bytes for loader in list(self._loaders.values()))

    def load_ahead(self) -> bool:
        """Load the next variant that is not loaded, each once, if there is room for it; whether there was one."""
        if self.way is None or self._spare <= 0:
            return False
        loader = self._loader(self.way)
        for segment, variant in self._ahead:
            if not loader.has(segment, variant):
                loaded = loader.load_ahead(segment, variant)
                trim()
                return loaded
        return False

    def _loader(self, way: Way) -> SegmentLoader:
        loader = self._loaders.setdefault(way, SegmentLoader(self.reader, way))
        loader.keep_within(self._spare if way == self.way else 0.0)
        return loader

    def find_way(self, selection: Optional[Mapping[str, str]] = None, progress: Optional[Progress] = None) -> Way:
        """Try all ways, one against the best so far, keep the fastest that works and remember it.

        They are tried on the teacher, or on another selection where that does not work on this device; ``progress`` is
        called with how many have been tried, and how many there are.
        """
        selection = selection if selection is not None else self.reader.manifest.original_selection
        best: Optional[Composition] = None
        failure: Optional[CompositionError] = None
        for tried, way in enumerate(WAYS):
            if progress is not None and tried:
                progress(tried, len(WAYS))
            try:
                candidate = self.compose(selection, way)
            except CompositionError as error:
                failure = error
                continue
            best = self._faster(best, candidate) if best is not None else candidate
            self._loaders = {best.way: self._loaders[best.way]}
        if best is None:
            raise failure or CompositionError("there is no way to run")
        failure = None  # its traceback would keep what was composed here in memory
        self.way = best.way
        return self.way

    def _faster(self, one: Composition, other: Composition) -> Composition:
        started = time.perf_counter()
        other(*self.sample)
        once = max(1e-6, time.perf_counter() - started)
        rounds = max(FEWEST_TRIALS, min(MOST_TRIALS, int(TRIAL_SECONDS / once)))
        turns = time_turns([one, other], self.sample, rounds, repeats=2)
        return other if statistics.median(b / a for a, b in turns) < 1 else one
