"""`Network`: an open bundle that runs, and switches between selections while inferences run."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union

from torch import Tensor

from legodnn.runtime.device.cache import DeviceCache
from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import MemoryTable
from legodnn.runtime.engine import Backend, Composition, tensors
from legodnn.runtime.engine.composer import Progress
from legodnn.runtime.engine.process import require_process
from legodnn.runtime.engine.samples import difference, samples
from legodnn.runtime.engine.workshop import Workshop
from legodnn.runtime.switching.switcher import Again, Switcher
from legodnn.shared.bundle.manifest import InputSpec, Manifest, Segment, SelfTestCase
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import CompositionError, InputError, UsageError
from legodnn.shared.tasks.samples import believable, right_answers


@dataclass(frozen=True)
class SelfTestResult:
    """One case of the self-test.

    ``error`` is the largest relative error of the outputs on the samples; a selection that cannot be composed has an
    infinite error. ``right`` of ``judged`` samples have the class that their label says; None where samples have no
    labels or outputs are no classes. ``passed`` says whether the error is within the bundle's tolerance and, of the
    originals on samples that are pixels, as many samples are right as the bundle's accuracy makes likely.
    """

    selection: Mapping[str, str]
    error: float
    passed: bool
    right: Optional[int] = None
    judged: int = 0


class Network:
    """A network of interchangeable blocks.

    ``network(x)`` runs the current composition, the teacher at first; ``select`` changes it. Both may be called from
    several threads: an inference finishes in the composition in which it began.
    """

    def __init__(self, reader: BundleReader, cache: bool = True, batch: Optional[int] = None) -> None:
        self.reader = reader
        self.manifest: Manifest = reader.manifest
        self.batch = batch if batch is not None else self.manifest.input.shape[0]
        self.cache = DeviceCache(reader.digest, cache, self.batch)
        self.latency: Optional[LatencyTable] = None
        self._process = os.getpid()
        self._workshop = Workshop(reader, self.cache, self.batch)
        self._switcher = Switcher(self._workshop)

    @classmethod
    def open(cls, path: Union[str, Path], cache: bool = True, batch: Optional[int] = None) -> "Network":
        """Open a bundle: read and check its manifest; weights are read when they are needed.

        ``cache=False`` neither reads nor writes the measurements of this device. ``batch`` is the number of inputs per
        call that compositions are optimised and latencies measured for, by default the bundle's; other batch sizes work
        as well. Raises `BundleError` for a file that is not a whole bundle, `OSError` where it cannot be read,
        `UsageError` for a batch below 1.
        """
        if batch is not None and batch < 1:
            raise UsageError(f"batch={batch}: at least one input is run at a time")
        return cls(BundleReader(path), cache, batch)

    # ---- metadata ---------------------------------------------------------------------------------------------------
    @property
    def digest(self) -> str:
        """The SHA-256 of the bundle's header and manifest, which identifies its content; hexadecimal."""
        return self.reader.digest

    @property
    def blocks(self) -> Tuple[Segment, ...]:
        """The blocks, in the order in which they run."""
        return self.manifest.blocks

    @property
    def input(self) -> InputSpec:
        """The input's shape, dtype, layout, normalisation and labels."""
        return self.manifest.input

    @property
    def selection(self) -> Dict[str, str]:
        """The current selection: a variant's name for every block."""
        current = self._switcher.current
        return dict(current.selection) if current else self.first_selection

    @property
    def first_selection(self) -> Dict[str, str]:
        """The selection before any other is selected: originals, except those that do not work on this device."""
        return self._workshop.first_selection

    def usable_variants(self, block: str) -> Tuple[str, ...]:
        """The names of a block's variants, the original first, without those known not to work on this device.

        Raises `CompositionError` where none is left.
        """
        return self._workshop.usable_variants(block)

    @property
    def excluded(self) -> Dict[Tuple[str, str], str]:
        """Variants that do not work on this device: (block, variant) -> reason. No selection with them is chosen."""
        return self._workshop.excluded

    @property
    def memory(self) -> Optional[MemoryTable]:
        """The measured memory table of this device; None where it was not measured, see `MemoryEstimator`."""
        return self._switcher.memory

    @memory.setter
    def memory(self, table: Optional[MemoryTable]) -> None:
        self._switcher.memory = table

    @property
    def loaded(self) -> List[Dict[str, str]]:
        """The selections whose compositions are in memory: cached ones first, the current one last."""
        return self._switcher.loaded

    @property
    def way(self) -> Optional[Backend]:
        """The backend of compositions on this device; None until it is known."""
        return self._workshop.backend

    # ---- running ----------------------------------------------------------------------------------------------------
    def __call__(self, *inputs: Tensor) -> Any:
        """The network's output for a batch of any size.

        Raises `InputError` for a wrong shape or dtype, `ForkError` in a process forked from the one that opened it.
        """
        require_process(self._process)
        self.check_inputs(inputs)
        current = self._switcher.current or self._workshop.with_first_selection(self.select)
        started = time.perf_counter()
        answer = current(*inputs)
        current.recent.append(time.perf_counter() - started)
        return answer

    def check_inputs(self, inputs: Tuple[Tensor, ...]) -> None:
        """Raise `InputError` unless these are what the network takes."""
        if len(inputs) != len(self.manifest.network_inputs):
            raise InputError(f"{len(inputs)} inputs given, the network takes {len(self.manifest.network_inputs)}")
        for value in inputs:
            wanted = ("n", *self.input.shape[1:])
            text = f"({', '.join(str(s) for s in wanted)}) {self.input.dtype}"
            if not isinstance(value, Tensor):
                raise InputError(f"the network takes a tensor {text}, not {type(value).__name__}")
            dtype = str(value.dtype).replace("torch.", "")
            if dtype != self.input.dtype or tuple(value.shape[1:]) != self.input.shape[1:] or value.dim() == 0:
                raise InputError(f"the network takes {text}, not {tuple(value.shape)} {dtype}")
            if value.shape[0] == 0:
                raise InputError("an empty batch")

    def compose(self, selection: Mapping[str, str]) -> Composition:
        """Return a composition of a selection, ready to run, without switching to it.

        Raises `SelectionError`, `BundleError`, `ForkError`, and `CompositionError` where it cannot be made to run:
        `OutOfMemory`, or `UnusableVariant` for a variant that does not work on this device, which is then `excluded`.
        """
        require_process(self._process)
        return self._workshop.compose(selection)

    def select(self, selection: Mapping[str, str]) -> Composition:
        """Switch to a selection and return its composition.

        The new composition is made, warmed up and checked while the old one runs, then takes its place in one
        assignment. Where this fails, the old one stays and the error is raised, see `compose`.
        """
        require_process(self._process)
        return self._switcher.switch(selection)

    def select_later(self, selection: Mapping[str, str], again: Optional[Again] = None) -> "Future[Composition]":
        """Switch in the background and return at once; the future has the composition once it runs, or the error.

        A later request replaces one that has not begun, whose future is cancelled. Where a variant does not work on
        this device and ``again`` is given, it is called for another selection. Errors are also logged as warnings of
        ``legodnn.switching``.
        """
        require_process(self._process)
        return self._switcher.switch_later(selection, again)

    @property
    def switching(self) -> "Optional[Future[Composition]]":
        """The future that `select_later` returned last; None where it was never called."""
        return self._switcher.asked

    @property
    def keep_within(self) -> float:
        """The cache limit: bytes that all compositions in memory may need together, the current one included.

        Compositions that ran before stay cached within it. At first it is twice what the teacher needs. A lower limit
        evicts at once.
        """
        return self._switcher.keep_within

    @keep_within.setter
    def keep_within(self, limit: float) -> None:
        self._switcher.keep_within = limit

    def bound_kept(self, memory_bytes: Optional[float]) -> None:
        """Set a second cache limit in bytes beside ``keep_within``, as for a memory budget; None for none."""
        self._switcher.bound(memory_bytes)

    def release_kept(self) -> None:
        """Evict all cached compositions; the current one stays."""
        self._switcher.release_kept()

    @property
    def ready_bytes(self) -> int:
        """Bytes of prefetched variants: loaded, whether or not a composition uses them; within ``keep_within``."""
        return self._workshop.kept_bytes

    def load_ahead(self) -> bool:
        """Prefetch one more variant, so that switching to it takes less time; returns whether there may be more.

        Prefetches only within ``keep_within``, with backends that keep loaded weights on disk, and not while a
        composition is made. Errors are logged; they are raised when the variant is selected.
        """
        require_process(self._process)
        return self._workshop.load_ahead()

    def recent_seconds(self) -> List[float]:
        """Seconds of the current composition's last inferences, at most 64; none right after a switch."""
        current = self._switcher.current
        return list(current.recent) if current else []

    def forget_recent(self) -> None:
        """Empty `recent_seconds`, where earlier inferences do not predict later ones."""
        current = self._switcher.current
        if current is not None:
            current.recent.clear()

    def find_way(self, progress: Optional[Progress] = None) -> Backend:
        """Return the backend: the cached one, or the fastest of all, which are tried with the teacher and timed.

        Without this call the backend is found when the first composition is made. ``progress`` is called with the
        number of backends tried and their total. Raises the errors of `compose`.
        """
        require_process(self._process)
        return self._workshop.find_backend(progress)

    # ---- samples and self-test --------------------------------------------------------------------------------------
    def samples(self) -> Tuple[List[Tensor], Tuple[int, ...]]:
        """The bundle's samples: a batch for each input of the network, and their labels (empty for none).

        Samples that the bundle holds as pixels are read as frames are. Raises `InputError` where it has none.
        """
        return samples(self.reader)

    def sample_inputs(self) -> List[Tensor]:
        """The network's inputs with the batch size it was opened for; samples repeat where there are too few, and are
        random numbers where the bundle has none."""
        return self._workshop.sample_inputs()

    def self_test(self) -> List[SelfTestResult]:
        """Run the samples through every selection of the self-test and compare with the builder's outputs.

        Empty for a bundle without samples, where there is nothing to compare with. Samples that are pixels are read as
        frames are, so that a wrong normalisation fails as well.
        """
        if not self.manifest.self_test.count:
            return []
        inputs, labels = self.samples()
        return [self._test(case, inputs, labels) for case in self.manifest.self_test.cases]

    def _test(self, case: SelfTestCase, inputs: List[Tensor], labels: Sequence[int]) -> SelfTestResult:
        test = self.manifest.self_test
        try:
            outputs = tensors(self.compose(case.selection)(*inputs))
        except CompositionError:
            return SelfTestResult(case.selection, float("inf"), False)
        error = max(difference(self.reader, case, number, mine) for number, mine in enumerate(outputs))
        right = right_answers(self.manifest.task, outputs, labels)
        passed = error <= test.tolerance
        if test.pixels is not None and case.selection == self.manifest.original_selection:
            accuracy = self.manifest.predictor.teacher_accuracy
            passed = passed and believable(self.manifest.task, self.manifest.metric, accuracy, right, len(labels))
        return SelfTestResult(case.selection, error, passed, right, 0 if right is None else len(labels))

    def verify(self) -> None:
        """Check the hashes of all blobs of the bundle. Raises `BundleError`."""
        self.reader.verify()

    def close(self) -> None:
        """Close the bundle's file; the current composition stays usable.

        A switch in progress is finished first; requests that have not begun are cancelled.
        """
        if os.getpid() == self._process:  # a forked process has no thread that would finish a switch
            self._switcher.close()
        self.reader.close()

    def __enter__(self) -> "Network":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
