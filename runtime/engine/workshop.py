"""`Workshop`: compositions of a bundle on this device."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Dict, List, Mapping, Optional, Tuple, TypeVar

from torch import Tensor

from legodnn.runtime.device.cache import DeviceCache
from legodnn.runtime.engine.backend import Backend
from legodnn.runtime.engine.composer import Between, Composer, Composition, Progress, nothing
from legodnn.runtime.engine.faults import find_fault, shortages
from legodnn.runtime.engine.process import note_threads
from legodnn.runtime.engine.samples import sample_batch
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import CompositionError, LegoError, UnusableVariant, is_shortage

Made = TypeVar("Made")

logger = logging.getLogger("legodnn.network")  # the name users know its messages by


class Workshop:
    """Makes compositions with the fastest backend of this device, without variants that do not work on it.

    The backend is read from the ``cache``, or found when the first composition is made. Thread-safe: compositions are
    made one at a time.

    Args:
        reader: the open bundle.
        cache: its measurements on this device.
        batch: inputs per call that compositions are optimised for.
    """

    def __init__(self, reader: BundleReader, cache: DeviceCache, batch: int) -> None:
        self.manifest = reader.manifest
        self.composer: Optional[Composer] = None
        self.excluded: Dict[Tuple[str, str], str] = {}
        """Variants that do not work on this device: (block, variant) -> reason."""
        self._reader, self._cache, self._batch = reader, cache, batch
        self._composing = threading.RLock()  # the backend is found once, and parts are loaded once
        self._spare = 0.0

    # ---- variants ---------------------------------------------------------------------------------------------------
    def usable_variants(self, block: str) -> Tuple[str, ...]:
        """The names of a block's variants, the original first, without excluded ones.

        Raises `CompositionError` where none is left.
        """
        names = [variant.name for variant in self.manifest.segment(block).variants]
        usable = tuple(name for name in names if (block, name) not in self.excluded)
        if not usable:
            reasons = "; ".join(self.excluded[block, name] for name in names)
            raise CompositionError(f"{self._reader.path}: no variant of {block} works on this device: {reasons}")
        return usable

    @property
    def first_selection(self) -> Dict[str, str]:
        """The teacher, except for originals that do not work on this device."""
        return {block.name: self.usable_variants(block.name)[0] for block in self.manifest.blocks}

    def with_first_selection(self, make: Callable[[Mapping[str, str]], Made]) -> Made:
        """Return ``make(first_selection)``; repeated with the next one while a variant of it gets excluded."""
        while True:
            try:
                return make(self.first_selection)
            except UnusableVariant as fault:
                logger.info("%s; the next one of its block is tried", fault)

    # ---- compositions -----------------------------------------------------------------------------------------------
    def compose(self, selection: Mapping[str, str], between: Between = nothing) -> Composition:
        """A composition of a selection, ready to run; ``between`` is called after every segment that is loaded for it.

        Raises `SelectionError`, `BundleError`, and `CompositionError` where it cannot be made to run: `OutOfMemory`, or
        `UnusableVariant` for a variant that does not work on this device, which is then ``excluded``.
        """
        note_threads()
        with self._composing, shortages():
            for block, variant in selection.items():
                if (block, variant) in self.excluded:
                    raise UnusableVariant(self.excluded[block, variant], block, variant)
            composer = self.ready_composer()
            return self._blaming(selection, lambda: composer.compose(selection, between=between))

    def find_backend(self, progress: Optional[Progress] = None) -> Backend:
        """The cached backend, or the fastest of all, which are tried. Raises the errors of `compose`.
        """
        note_threads()
        with self._composing, shortages():
            composer = self.ready_composer(progress)
            return composer.backend or composer.find_backend()

    @property
    def backend(self) -> Optional[Backend]:
        """The backend; None until it is known."""
        return self.composer.backend if self.composer else None

    def sample_inputs(self) -> List[Tensor]:
        """The network inputs that compositions are warmed up and checked with, from the bundle's samples."""
        return sample_batch(self._reader, self._batch)

    def ready_composer(self, progress: Optional[Progress] = None) -> Composer:
        """The composer, with its backend set; tries all backends where none is cached."""
        if self.composer is None:
            composer = Composer(self._reader, self.sample_inputs())
            composer.backend = Backend.from_text(self._cache.get("way"))
            if composer.backend is None:
                self._cache.put("way", str(self._found_backend(composer, progress)))
            self.composer = composer
            composer.keep_loaded(self._spare)
        return self.composer

    def _found_backend(self, composer: Composer, progress: Optional[Progress]) -> Backend:
        def find(selection: Mapping[str, str]) -> Backend:
            return self._blaming(selection, lambda: composer.find_backend(selection, progress))

        return self.with_first_selection(find)

    def _blaming(self, selection: Mapping[str, str], make: Callable[[], Made]) -> Made:
        """Return ``make()``; where it fails because of a variant, exclude that and raise `UnusableVariant`."""
        try:
            return make()
        except CompositionError as error:
            if is_shortage(error):
                raise
            fault = find_fault(self._reader, self.sample_inputs(), selection)
            if fault is None:
                raise
            self.excluded[fault.block, fault.variant] = str(fault)
            logger.warning("%s; it is chosen no more", fault)
            raise fault from error

    # ---- prefetched variants ----------------------------------------------------------------------------------------
    def keep_loaded(self, spare: float) -> None:
        """Keep variants loaded within ``spare`` bytes, where the backend keeps their weights on disk."""
        self._spare = spare
        if self.composer is not None:
            self.composer.keep_loaded(spare)

    @property
    def kept_bytes(self) -> int:
        """Bytes in memory of the variants that stay loaded."""
        return self.composer.kept_bytes if self.composer else 0

    def load_ahead(self) -> bool:
        """Prefetch one more variant; returns whether there may be more.

        Does nothing while a composition is made. Errors are logged; they are raised when the variant is selected.
        """
        if self.composer is None or not self._composing.acquire(blocking=False):
            return self.composer is not None
        try:
            with shortages():
                return self.composer.load_ahead()
        except LegoError as error:
            logger.info("not loaded ahead: %s", error)
            return True
        finally:
            self._composing.release()
