"""`Workshop`: compositions of a bundle as this device can run them."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Dict, List, Mapping, Optional, Tuple, TypeVar

from torch import Tensor

from legodnn.runtime.device.cache import DeviceCache
from legodnn.runtime.engine.composer import Between, Composer, Composition, Progress, nothing
from legodnn.runtime.engine.faults import find_fault, is_shortage, shortages
from legodnn.runtime.engine.process import note_threads
from legodnn.runtime.engine.samples import sample_batch
from legodnn.runtime.engine.ways import Way
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import CompositionError, LegoError, UnusableVariant

Made = TypeVar("Made")

logger = logging.getLogger("legodnn.network")  # users know what is said here as the network's


class Workshop:
    """Makes compositions: in the way that is fastest on this device, without variants that do not work on it.

    The way is found when the first composition is made, or remembered by the ``cache``; what is found out about
    variants is in ``excluded``. Several threads may ask; one composition is made at a time.

    Args:
        reader: of the bundle.
        cache: what was measured of it here.
        batch: how many inputs compositions are fastest for.
    """

    def __init__(self, reader: BundleReader, cache: DeviceCache, batch: int) -> None:
        self.manifest = reader.manifest
        self.composer: Optional[Composer] = None
        self.excluded: Dict[Tuple[str, str], str] = {}
        """Variants that do not work on this device, by block and name, and why; nothing that has them is made."""
        self._reader, self._cache, self._batch = reader, cache, batch
        self._composing = threading.RLock()  # the way is found once, and parts are loaded once
        self._spare = 0.0

    # ---- variants ---------------------------------------------------------------------------------------------------
    def usable_variants(self, block: str) -> Tuple[str, ...]:
        """The variants of a block, the original first, but for those that are excluded.

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
        """The teacher, but for originals that do not work on this device."""
        return {block.name: self.usable_variants(block.name)[0] for block in self.manifest.blocks}

    def with_first_selection(self, make: Callable[[Mapping[str, str]], Made]) -> Made:
        """What ``make`` makes of the first selection, which is another one once a variant of it has been excluded."""
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

    def find_way(self, progress: Optional[Progress] = None) -> Way:
        """The way compositions run on this device: the remembered one, or the fastest of all, which have to be tried.

        Raises what `compose` does.
        """
        note_threads()
        with self._composing, shortages():
            composer = self.ready_composer(progress)
            return composer.way or composer.find_way()

    @property
    def way(self) -> Optional[Way]:
        """The way compositions run on this device, once found."""
        return self.composer.way if self.composer else None

    def sample_inputs(self) -> List[Tensor]:
        """The network's inputs that compositions are tried and checked with."""
        return sample_batch(self._reader, self._batch)

    def ready_composer(self, progress: Optional[Progress] = None) -> Composer:
        """What composes, once the way has been found."""
        if self.composer is None:
            composer = Composer(self._reader, self.sample_inputs())
            composer.way = Way.from_text(self._cache.get("way"))
            if composer.way is None:
                self._cache.put("way", str(self._found_way(composer, progress)))
            self.composer = composer
            composer.keep_loaded(self._spare)
        return self.composer

    def _found_way(self, composer: Composer, progress: Optional[Progress]) -> Way:
        def find(selection: Mapping[str, str]) -> Way:
            return self._blaming(selection, lambda: composer.find_way(selection, progress))

        return self.with_first_selection(find)

    def _blaming(self, selection: Mapping[str, str], make: Callable[[], Made]) -> Made:
        """What ``make`` returns; where it fails because of a variant, that is excluded from now on."""
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

    # ---- variants that stay loaded ----------------------------------------------------------------------------------
    def keep_loaded(self, spare: float) -> None:
        """Let variants stay loaded within these bytes, where the way to run leaves their weights on disk."""
        self._spare = spare
        if self.composer is not None:
            self.composer.keep_loaded(spare)

    @property
    def kept_bytes(self) -> int:
        """Bytes in memory of the variants that stay loaded."""
        return self.composer.kept_bytes if self.composer else 0

    def load_ahead(self) -> bool:
        """Load one more variant that may stay loaded; whether there may be more to load.

        Not while a composition is made. What cannot be loaded is said when it is chosen.
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
