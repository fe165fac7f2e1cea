"""`Network`: an open bundle that runs, and that changes what it runs while it runs."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

from torch import Tensor

from legodnn.runtime.device.cache import DeviceCache
from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import MemoryTable
from legodnn.runtime.engine import Composition, Way, relative_error, tensors
from legodnn.runtime.engine.composer import Progress
from legodnn.runtime.engine.process import require_process
from legodnn.runtime.engine.samples import samples
from legodnn.runtime.engine.workshop import Workshop
from legodnn.runtime.switching.switcher import Again, Switcher
from legodnn.shared.bundle.manifest import InputSpec, Manifest, Segment, SelfTestCase
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import tensor_from_bytes
from legodnn.shared.errors import CompositionError, InputError, UsageError


@dataclass(frozen=True)
class SelfTestResult:
    """How far a selection's outputs on the samples are from the expected ones, and whether that is near enough."""

    selection: Mapping[str, str]
    error: float
    passed: bool


class Network:
    """A network of interchangeable blocks.

    ``network(x)`` runs the current composition, the teacher at first; ``select`` changes it. Both may be called from
    several threads: whoever is inside an old composition finishes there.
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
        """Open a bundle: its tables are read and checked, its weights not yet.

        ``cache=False`` neither reads nor writes what was measured on this device. ``batch`` is how many inputs are run
        at a time, by default as many as the bundle was made with: compositions are fastest for it and latencies are
        measured with it; batches of other sizes are computed as well. Raises `BundleError` for a file that is not a
        whole bundle, `OSError` where it cannot be read, `UsageError` for a batch of none.
        """
        if batch is not None and batch < 1:
            raise UsageError(f"batch={batch}: at least one input is run at a time")
        return cls(BundleReader(path), cache, batch)

    # ---- facts ------------------------------------------------------------------------------------------------------
    @property
    def digest(self) -> str:
        """Identifies the bundle's content."""
        return self.reader.digest

    @property
    def blocks(self) -> Tuple[Segment, ...]:
        """The blocks, in the order in which they run."""
        return self.manifest.blocks

    @property
    def input(self) -> InputSpec:
        """What the network takes."""
        return self.manifest.input

    @property
    def selection(self) -> Dict[str, str]:
        """What runs now: a variant's name for every block."""
        current = self._switcher.current
        return dict(current.selection) if current else self.first_selection

    @property
    def first_selection(self) -> Dict[str, str]:
        """What runs until something is selected: the teacher, but for originals that do not work on this device."""
        return self._workshop.first_selection

    def usable_variants(self, block: str) -> Tuple[str, ...]:
        """The variants of a block, the original first, but for those that are known not to work on this device.

        Raises `CompositionError` where none is left.
        """
        return self._workshop.usable_variants(block)

    @property
    def excluded(self) -> Dict[Tuple[str, str], str]:
        """Variants that do not work on this device, by block and name, and why; nothing that has them is chosen."""
        return self._workshop.excluded

    @property
    def memory(self) -> Optional[MemoryTable]:
        """What selections come to in memory on this device, where it was measured; see `MemoryEstimator`."""
        return self._switcher.memory

    @memory.setter
    def memory(self, table: Optional[MemoryTable]) -> None:
        self._switcher.memory = table

    @property
    def loaded(self) -> List[Dict[str, str]]:
        """The selections whose compositions are in memory: what runs last, before it those kept for the way back."""
        return self._switcher.loaded

    @property
    def way(self) -> Optional[Way]:
        """The way compositions run on this device, once found."""
        return self._workshop.way

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
        """A composition of a selection, ready to run, without switching to it.

        Raises `SelectionError`, `BundleError`, `ForkError`, and `CompositionError` where it cannot be made to run:
        `OutOfMemory`, or `UnusableVariant` for a variant that does not work on this device, which is then `excluded`.
        """
        require_process(self._process)
        return self._workshop.compose(selection)

    def select(self, selection: Mapping[str, str]) -> Composition:
        """Switch to a selection and return its composition, which then serves.

        The new one is prepared, warmed and checked beside the old one, then takes its place at once. Where anything
        fails the old one stays and the failure is raised, see `compose`.
        """
        require_process(self._process)
        return self._switcher.switch(selection)

    def select_later(self, selection: Mapping[str, str], again: Optional[Again] = None) -> "Future[Composition]":
        """Switch in the background and return at once; the future tells when it serves, or why it does not.

        A request that has not begun is dropped (its future is cancelled) for a later one. Where a variant does not work
        on this device, ``again`` is called for another selection, if it is given. What fails is also logged, as a
        warning of ``legodnn.switching``.
        """
        require_process(self._process)
        return self._switcher.switch_later(selection, again)

    @property
    def switching(self) -> "Optional[Future[Composition]]":
        """What `select_later` returned last, for whoever did not call it; None where it was never called."""
        return self._switcher.asked

    @property
    def keep_within(self) -> float:
        """Bytes that all compositions together may need; those that ran before are kept for the way back within it.

        At first twice what the teacher needs. What is above a new limit is let go of at once.
        """
        return self._switcher.keep_within

    @keep_within.setter
    def keep_within(self, limit: float) -> None:
        self._switcher.keep_within = limit

    def bound_kept(self, memory_bytes: Optional[float]) -> None:
        """A limit beside ``keep_within``, as optimisers set it where there is a memory budget; None for none."""
        self._switcher.bound(memory_bytes)

    def release_kept(self) -> None:
        """Let go of the compositions that do not run now."""
        self._switcher.release_kept()

    @property
    def ready_bytes(self) -> int:
        """Bytes of variants that stay loaded, whether or not they are in a composition, within ``keep_within``."""
        return self._workshop.kept_bytes

    def load_ahead(self) -> bool:
        """Load one more variant, so that switching to it takes less time; whether there may be more to load.

        Only within ``keep_within``, and for ways to run that leave loaded weights on disk; not while a composition is
        made. What cannot be loaded is said when it is chosen.
        """
        require_process(self._process)
        return self._workshop.load_ahead()

    def recent_seconds(self) -> List[float]:
        """How long the last inferences of the composition that runs now took; none right after a switch."""
        current = self._switcher.current
        return list(current.recent) if current else []

    def forget_recent(self) -> None:
        """Inferences so far say nothing about those to come."""
        current = self._switcher.current
        if current is not None:
            current.recent.clear()

    def find_way(self, progress: Optional[Progress] = None) -> Way:
        """The way compositions run on this device: the remembered one, or the fastest of all, which have to be tried.

        Otherwise it is found when the first composition is made. ``progress`` is called with how many have been tried,
        and how many there are. Raises what `compose` does.
        """
        require_process(self._process)
        return self._workshop.find_way(progress)

    # ---- samples and self-test --------------------------------------------------------------------------------------
    def samples(self) -> Tuple[List[Tensor], Tuple[int, ...]]:
        """The bundle's samples: a batch for each input of the network, and their labels (empty for none)."""
        return samples(self.reader)

    def sample_inputs(self) -> List[Tensor]:
        """The network's inputs with the batch size it was opened for; samples repeat where there are too few."""
        return self._workshop.sample_inputs()

    def self_test(self) -> List[SelfTestResult]:
        """Run the samples through every selection of the self-test and compare with what the builder got."""
        inputs, _ = self.samples()
        return [self._test(case, inputs) for case in self.manifest.self_test.cases]

    def _test(self, case: SelfTestCase, inputs: List[Tensor]) -> SelfTestResult:
        try:
            answer = self.compose(case.selection)(*inputs)
        except CompositionError:
            return SelfTestResult(case.selection, float("inf"), False)
        errors = []
        for blob, spec, mine in zip(case.outputs, self.manifest.self_test.output_specs, tensors(answer)):
            errors.append(relative_error(mine, tensor_from_bytes(self.reader.blob(blob), spec.shape, spec.dtype)))
        return SelfTestResult(case.selection, max(errors), max(errors) <= self.manifest.self_test.tolerance)

    def verify(self) -> None:
        """Check the hash of every byte of the bundle. Raises `BundleError`."""
        self.reader.verify()

    def close(self) -> None:
        """Let go of the bundle's file; what runs goes on running.

        A switch that is being made is finished before, those that were asked for after it are dropped.
        """
        if os.getpid() == self._process:  # what a fork has of switches that were being made comes to no end
            self._switcher.close()
        self.reader.close()

    def __enter__(self) -> "Network":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
