"""Why a composition fails: a variant that does not work on this device, or out of memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from legodnn.runtime.engine.backend import Backend
from legodnn.runtime.engine.compare import tensors
from legodnn.runtime.engine.joining import quiet
from legodnn.runtime.engine.loading import SegmentLoader
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import BundleError, OutOfMemory, UnusableVariant, is_shortage, one_line

_PLAIN = Backend("contiguous", "plain")
_NOT_FINITE = "it gives numbers that are not finite where the teacher does not"


# ---- variants -------------------------------------------------------------------------------------------------------
def find_fault(
    reader: BundleReader, sample: Sequence[Tensor], selection: Mapping[str, str]
) -> Optional[UnusableVariant]:
    """The variant because of which a selection fails even when its segments run one by one; None for none.

    That is the first that fails, or gives values that are not finite, where the teacher does not. Where it is an
    original, its input was wrong, and the last variant before it that is no original is at fault.
    """
    mine = _run(reader, sample, selection)
    if not mine.broken:
        return None
    teacher = _run(reader, sample, reader.manifest.original_selection)
    segments, variants = reader.manifest.segments, reader.manifest.chosen(selection)
    only_mine = [place for place in mine.errors if place not in teacher.errors]
    place = min(only_mine or mine.errors)
    reason = mine.errors[place]
    if only_mine:
        place = max((k for k in range(place + 1) if variants[k].name != ORIGINAL), default=place)
    segment, variant = segments[place], variants[place]
    if not segment.is_block:
        return None
    what = f"{reader.path}: {segment.name} {variant.name} does not work on this device: {reason}"
    return UnusableVariant(what, segment.name, variant.name)


class _Run(NamedTuple):
    """Errors of a selection's segments, by their index, and whether its outputs are wrong."""

    errors: Dict[int, str]
    broken: bool


def _run(reader: BundleReader, sample: Sequence[Tensor], selection: Mapping[str, str]) -> _Run:
    """Run the segments one by one, up to the first that fails."""
    manifest, loader = reader.manifest, SegmentLoader(reader, _PLAIN)
    values: Dict[str, Any] = dict(zip(manifest.network_inputs, sample))
    errors: Dict[int, str] = {}
    for place, (segment, variant) in enumerate(zip(manifest.segments, manifest.chosen(selection))):
        inputs = [values[name] for name in segment.inputs]
        try:
            with quiet():
                outputs = tensors(loader.load(segment, variant, inputs)(*inputs))
        except RuntimeError as error:
            if is_shortage(error):
                raise
            # The segments after it cannot be judged.
            errors.update({k: f"it fails: {one_line(error)}" for k in range(place, len(manifest.segments))})
            return _Run(errors, True)
        if not all(_finite(value) for value in outputs):
            errors[place] = _NOT_FINITE
        values.update(zip(segment.outputs, outputs))
    return _Run(errors, not all(_finite(values[name]) for name in manifest.network_outputs))


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


# ---- memory ---------------------------------------------------------------------------------------------------------
@contextmanager
def shortages() -> Iterator[None]:
    """A context that raises `OutOfMemory` in place of other exceptions that mean out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError, BundleError, OSError) as error:
        if isinstance(error, OutOfMemory) or not is_shortage(error):
            raise
        raise OutOfMemory(
            "no memory is left for another composition beside what runs: free some, or give a memory budget "
            f"({one_line(error)})"
        ) from error
