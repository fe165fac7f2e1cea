"""`Composer`: compositions of a bundle, checked, with the fastest backend of this device."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from legodnn.runtime.engine.backend import BACKENDS, Backend
from legodnn.runtime.engine.backends.known import ENGINES
from legodnn.runtime.engine.compare import require_agreement, tensors
from legodnn.runtime.engine.denormals import run_flushing
from legodnn.runtime.engine.joining import function_of, joined, quiet
from legodnn.runtime.engine.loading import Part, SegmentLoader
from legodnn.runtime.engine.timing import time_turns
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import CompositionError, one_line
from legodnn.shared.platform import trim_heap

WARM_UP = 3
"""Runs after which TorchScript's executor no longer changes a function: it profiles in the first and optimises next."""

FEWEST_TRIALS, MOST_TRIALS, TRIAL_SECONDS = 3, 7, 0.2
"""Turns when two backends are compared: as many as fit into the seconds, within these bounds; not tuned."""

RECENT = 64
"""Inferences whose seconds a composition keeps: more than the 40 that `drift.FEWEST_OF_MOST` needs."""

Progress = Callable[[int, int], None]
"""Called with the number of steps done and their total."""

Between = Callable[[], None]
"""Called after every segment that is loaded while a composition is made."""


def nothing() -> None:
    """The default for `Between`."""


def warmed_up(graph: Any, backend: Backend, inputs: Sequence[Tensor]) -> Tuple[Any, Any]:
    """A joined program as a function after `WARM_UP` runs, and its outputs for the inputs."""
    engine = ENGINES[backend.engine]
    engine.lower(graph)
    function = function_of(graph)
    with engine.warming():
        for _ in range(WARM_UP):
            answer = function(*inputs)
    return function, answer


@dataclass
class Composition:
    """The executable network of one selection. Call it with the network's inputs.

    ``recent`` has the seconds of its last inferences since the last switch to it; `Network` appends them.
    """

    selection: Mapping[str, str]
    backend: Backend
    function: Any
    parts: Sequence[Part]
    recent: Deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __call__(self, *inputs: Tensor) -> Any:
        """The network's outputs for a batch of inputs."""
        with torch.no_grad():
            return run_flushing(self.function, inputs)


class Composer:
    """Makes compositions of a bundle.

    ``sample`` are network inputs that compositions are warmed up, timed and checked with.
    """

    def __init__(self, reader: BundleReader, sample: Sequence[Tensor]) -> None:
        self.reader = reader
        self.sample = list(sample)
        self.backend: Optional[Backend] = None
        self._loaders: Dict[Backend, SegmentLoader] = {}
        self._spare = 0.0
        self._ahead = iter([(s, v) for s in reader.manifest.segments for v in s.variants])

    def compose(
        self, selection: Mapping[str, str], backend: Optional[Backend] = None, between: Between = nothing
    ) -> Composition:
        """A warmed-up composition that agrees with its segments run one by one.

        It uses ``backend``; by default the fastest one, and the plain engine where that fails. ``between`` is called
        after every segment that is loaded. Raises `SelectionError` for a selection the bundle does not have,
        `BundleError` for damaged parts, and `CompositionError` where it cannot run or its outputs are wrong.
        """
        if backend is not None:
            return self._compose(selection, backend, between)
        backend = self.backend or self.find_backend()
        try:
            return self._compose(selection, backend, between)
        except CompositionError:
            plain = Backend(backend.layout, "plain")
            if backend == plain:
                raise
            return self._compose(selection, plain, between)

    def _compose(self, selection: Mapping[str, str], backend: Backend, between: Between) -> Composition:
        loader = self._loader(backend)
        manifest = self.reader.manifest
        variants = manifest.chosen(selection)
        values = {
            name: value.contiguous(memory_format=backend.memory_format) if value.dim() == 4 else value
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
                        trim_heap()  # oneDNN reserves more than it fills; in reused pages all of it would be resident
                        between()
                graph = joined(manifest, [part.graph for part in parts], backend)
                function, answer = warmed_up(graph, backend, self.sample)
                for part in parts:
                    part.rest()
        except CompositionError:
            raise
        except RuntimeError as error:
            raise CompositionError(f"a composition cannot be made to run ({backend}): {one_line(error)}") from error
        require_agreement(tensors(answer), [values[n] for n in manifest.network_outputs], f"a composition ({backend})")
        trim_heap()  # making it takes several times the memory it needs afterwards
        return Composition(dict(selection), backend, function, parts)

    def keep_loaded(self, spare: float) -> None:
        """Keep variants loaded for the found backend within ``spare`` bytes."""
        self._spare = spare
        for backend in list(self._loaders):
            self._loader(backend)

    @property
    def kept_bytes(self) -> int:
        """Bytes in memory of the variants that stay loaded."""
        return sum(loader.kept_bytes for loader in list(self._loaders.values()))

    def load_ahead(self) -> bool:
        """Prefetch the next variant that is not loaded, each at most once; returns whether it stays loaded."""
        if self.backend is None or self._spare <= 0:
            return False
        loader = self._loader(self.backend)
        for segment, variant in self._ahead:
            if not loader.has(segment, variant):
                loaded = loader.load_ahead(segment, variant)
                trim_heap()
                return loaded
        return False

    def _loader(self, backend: Backend) -> SegmentLoader:
        loader = self._loaders.setdefault(backend, SegmentLoader(self.reader, backend))
        loader.keep_within(self._spare if backend == self.backend else 0.0)
        return loader

    def find_backend(
        self, selection: Optional[Mapping[str, str]] = None, progress: Optional[Progress] = None
    ) -> Backend:
        """Try all backends, each against the fastest so far, and set ``backend`` to the fastest that works.

        They run ``selection``, by default the teacher. ``progress`` is called with the number tried and the total.
        Raises `CompositionError` where none works.
        """
        selection = selection if selection is not None else self.reader.manifest.original_selection
        best: Optional[Composition] = None
        failure: Optional[CompositionError] = None
        for tried, backend in enumerate(BACKENDS):
            if progress is not None and tried:
                progress(tried, len(BACKENDS))
            try:
                candidate = self.compose(selection, backend)
            except CompositionError as error:
                failure = error
                continue
            best = self._faster(best, candidate) if best is not None else candidate
            self._loaders = {best.backend: self._loaders[best.backend]}
        if best is None:
            raise failure or CompositionError("there is no backend")
        failure = None  # its traceback would keep what was composed here in memory
        self.backend = best.backend
        return self.backend

    def _faster(self, one: Composition, other: Composition) -> Composition:
        started = time.perf_counter()
        other(*self.sample)
        once = max(1e-6, time.perf_counter() - started)
        rounds = max(FEWEST_TRIALS, min(MOST_TRIALS, int(TRIAL_SECONDS / once)))
        turns = time_turns([one, other], self.sample, rounds, repeats=2)
        return other if statistics.median(b / a for a, b in turns) < 1 else one
