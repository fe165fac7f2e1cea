"""`Network`: an open bundle that runs, and that changes what it runs while it runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Type, TypeVar, Union

import torch
from torch import Tensor

from legodnn.runtime.device.cache import DeviceCache
from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import MemoryTable, needed_bytes, needed_together
from legodnn.runtime.engine import Composer, Composition, Way, relative_error, tensors
from legodnn.runtime.engine.faults import find_fault, is_shortage, shortages
from legodnn.runtime.engine.process import note_threads, require_process
from legodnn.runtime.switching.switcher import Again, Switcher
from legodnn.shared.bundle.manifest import InputSpec, Manifest, Segment, SelfTestCase
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import tensor_from_bytes
from legodnn.shared.errors import CompositionError, InputError, LegoError, UnusableVariant, UsageError

Made = TypeVar("Made")

_LITTLE = 0.01
"""The share of what the teacher needs that variants may take in memory to stay loaded, whatever else there is: far less
than predictions of memory are off by."""

logger = logging.getLogger("legodnn.network")


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
        self.memory: Optional[MemoryTable] = None
        self.excluded: Dict[Tuple[str, str], str] = {}
        """Variants that do not work on this device, by block and name, and why; nothing that has them is chosen."""
        self._teacher_bytes = needed_bytes(self.manifest, self.manifest.original_selection)
        self._switcher = Switcher(
            self.compose,
            lambda selections: needed_together(self.manifest, selections, self.memory),
            2.0 * self._teacher_bytes,
            self._keep_loaded,
        )
        self._process = os.getpid()
        self._composing = threading.RLock()  # the way is found once, and parts are loaded once
        self._composer: Optional[Composer] = None

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
        return {block.name: self.usable_variants(block.name)[0] for block in self.blocks}

    def usable_variants(self, block: str) -> Tuple[str, ...]:
        """The variants of a block, the original first, but for those that are known not to work on this device.

        Raises `CompositionError` where none is left.
        """
        names = [variant.name for variant in self.manifest.segment(block).variants]
        usable = tuple(name for name in names if (block, name) not in self.excluded)
        if not usable:
            reasons = "; ".join(self.excluded[block, name] for name in names)
            raise CompositionError(f"{self.reader.path}: no variant of {block} works on this device: {reasons}")
        return usable

    @property
    def loaded(self) -> List[Dict[str, str]]:
        """The selections whose compositions are in memory: what runs last, before it those kept for the way back."""
        return self._switcher.loaded

    @property
    def way(self) -> Optional[Way]:
        """The way compositions run on this device, once found."""
        return self._composer.way if self._composer else None

    # ---- running ----------------------------------------------------------------------------------------------------
    def __call__(self, *inputs: Tensor) -> Any:
        """The network's output for a batch of any size.

        Raises `InputError` for a wrong shape or dtype, `ForkError` in a process forked from the one that opened it.
        """
        require_process(self._process)
        self.check_inputs(inputs)
        current = self._switcher.current or self._with_first_selection(self.select)
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
        note_threads()
        with self._composing, shortages():
            for block, variant in selection.items():
                if (block, variant) in self.excluded:
                    raise UnusableVariant(self.excluded[block, variant], block, variant)
            composer = self._ready_composer()
            return self._blaming(selection, lambda: composer.compose(selection))

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
        return self._composer.kept_bytes if self._composer else 0

    def load_ahead(self) -> bool:
        """Load one more variant, so that switching to it takes less time; whether there may be more to load.

        Only within ``keep_within``, and for ways to run that leave loaded weights on disk; not while a composition is
        made. What cannot be loaded is said when it is chosen.
        """
        require_process(self._process)
        if self._composer is None or not self._composing.acquire(blocking=False):
            return self._composer is not None
        try:
            with shortages():
                return self._composer.load_ahead()
        except LegoError as error:
            logger.info("not loaded ahead: %s", error)
            return True
        finally:
            self._composing.release()

    def recent_seconds(self) -> List[float]:
        """How long the last inferences of the composition that runs now took; none right after a switch."""
        current = self._switcher.current
        return list(current.recent) if current else []

    def forget_recent(self) -> None:
        """Inferences so far say nothing about those to come."""
        current = self._switcher.current
        if current is not None:
            current.recent.clear()

    def find_way(self, progress: Optional[Callable[[int, int], None]] = None) -> Way:
        """The way compositions run on this device: the remembered one, or the fastest of all, which have to be tried.

        Otherwise it is found when the first composition is made. ``progress`` is called with how many have been tried,
        and how many there are. Raises what `compose` does.
        """
        require_process(self._process)
        note_threads()
        with self._composing, shortages():
            composer = self._ready_composer(progress)
            return composer.way or composer.find_way()

    def _ready_composer(self, progress: Optional[Callable[[int, int], None]] = None) -> Composer:
        if self._composer is None:
            composer = Composer(self.reader, self.sample_inputs())
            composer.between = self._switcher.make_way
            composer.way = Way.from_text(self.cache.get("way"))
            if composer.way is None:
                self.cache.put("way", str(self._found_way(composer, progress)))
            self._composer = composer
            self._keep_loaded(self._switcher.spare)
        return self._composer

    def _keep_loaded(self, spare: float) -> None:
        """Variants stay loaded in what compositions leave of the limit, and always in very little.

        What is over its limit for a moment is about to switch, and then needs them.
        """
        if self._composer is not None:
            little = _LITTLE * self._teacher_bytes if self.keep_within > 0 else 0.0
            self._composer.keep_loaded(max(spare, little))

    def _found_way(self, composer: Composer, progress: Optional[Callable[[int, int], None]]) -> Way:
        def find(selection: Mapping[str, str]) -> Way:
            return self._blaming(selection, lambda: composer.find_way(selection, progress))

        return self._with_first_selection(find)

    def _with_first_selection(self, make: Callable[[Mapping[str, str]], Made]) -> Made:
        """What ``make`` makes of the first selection, which is another one once a variant of it has been excluded."""
        while True:
            try:
                return make(self.first_selection)
            except UnusableVariant as fault:
                logger.info("%s; the next one of its block is tried", fault)

    def _blaming(self, selection: Mapping[str, str], make: Callable[[], Made]) -> Made:
        """What ``make`` returns; where it fails because of a variant, that is excluded from now on."""
        try:
            return make()
        except CompositionError as error:
            if is_shortage(error):
                raise
            fault = find_fault(self.reader, self.sample_inputs(), selection)
            if fault is None:
                raise
            self.excluded[fault.block, fault.variant] = str(fault)
            logger.warning("%s; it is chosen no more", fault)
            raise fault from error

    # ---- samples and self-test --------------------------------------------------------------------------------------
    def samples(self) -> Tuple[List[Tensor], Tuple[int, ...]]:
        """The bundle's samples: a batch for each input of the network, and their labels (empty for none)."""
        test = self.manifest.self_test
        spec = test.input_spec
        return [tensor_from_bytes(self.reader.blob(blob), spec.shape, spec.dtype) for blob in test.inputs], test.labels

    def sample_inputs(self) -> List[Tensor]:
        """The network's inputs with the batch size it was opened for; samples repeat where there are too few."""
        inputs, _ = self.samples()
        index = torch.arange(self.batch) % inputs[0].shape[0]
        return [x[index].contiguous() for x in inputs]

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
