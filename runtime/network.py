"""`Network`: an open bundle that runs, and that changes what it runs while it runs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, Union

import torch
from torch import Tensor

from legodnn.runtime.cache import DeviceCache
from legodnn.runtime.composition import Composer, Composition, Way, relative_error, tensors
from legodnn.runtime.seconds import LatencyTable
from legodnn.runtime.switching import Switcher
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.tensors import tensor_from_bytes
from legodnn.shared.errors import CompositionError, InputError, UsageError
from legodnn.shared.tables import InputSpec, Manifest, Segment, SelfTestCase


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
        self._switcher = Switcher(self.manifest, self.compose)
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
        return dict(current.selection) if current else self.manifest.original_selection

    @property
    def way(self) -> Optional[Way]:
        """The way compositions run on this device, once found."""
        return self._composer.way if self._composer else None

    # ---- running ----------------------------------------------------------------------------------------------------
    def __call__(self, *inputs: Tensor) -> Any:
        """The network's output for a batch of any size. Raises `InputError` for a wrong shape or dtype."""
        self.check_inputs(inputs)
        current = self._switcher.current or self.select(self.manifest.original_selection)
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
        """A composition of a selection, ready to run, without switching to it."""
        with self._composing:
            return self._ready_composer().compose(selection)

    def select(self, selection: Mapping[str, str]) -> Composition:
        """Switch to a selection and return its composition, which then serves.

        The new one is prepared, warmed and checked beside the old one, then takes its place at once. Where anything
        fails the old one stays and the failure is raised: `SelectionError`, `BundleError`, `CompositionError`.
        """
        return self._switcher.switch(selection)

    def select_later(self, selection: Mapping[str, str]) -> "Future[Composition]":
        """Switch in the background and return at once; the future tells when it serves, or why it does not.

        A request that has not begun is dropped (its future is cancelled) for a later one.
        """
        return self._switcher.switch_later(selection)

    @property
    def keep_within(self) -> float:
        """Bytes that all compositions together may need; those that ran before are kept for the way back within it."""
        return self._switcher.keep_within

    @keep_within.setter
    def keep_within(self, limit: float) -> None:
        self._switcher.keep_within = limit

    def release_kept(self) -> None:
        """Let go of the compositions that do not run now."""
        self._switcher.release_kept()

    def recent_seconds(self) -> List[float]:
        """How long the last inferences of the composition that runs now took; none right after a switch."""
        current = self._switcher.current
        return list(current.recent) if current else []

    def _ready_composer(self) -> Composer:
        if self._composer is None:
            composer = Composer(self.reader, self.sample_inputs())
            composer.way = Way.from_text(self.cache.get("way"))
            if composer.way is None:
                self.cache.put("way", str(composer.find_way()))
            self._composer = composer
        return self._composer

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
        """Let go of the bundle's file; what runs goes on running."""
        self._switcher.close()
        self.reader.close()

    def __enter__(self) -> "Network":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()
