"""A bundle's samples as frames."""

from __future__ import annotations

import functools
import itertools
from typing import Iterator, List, Optional

from torch import Tensor

from legodnn.runtime.frames.source import Frame, FrameSource
from legodnn.runtime.network import Network
from legodnn.shared.errors import InputError


class Samples(FrameSource):
    """A bundle's samples with their labels: once, or endlessly with ``repeat``.

    Raises `InputError` for a bundle without samples.
    """

    def __init__(self, network: Network, repeat: bool = False) -> None:
        if not network.manifest.self_test.count:
            raise InputError(
                f"{network.reader.path}: the bundle carries no samples (bundle.samples = 0); name frames with --input"
            )
        self.inputs, self.labels = network.samples()
        self.repeat = repeat

    def frames(self, wake: Optional[int] = None) -> Iterator[Frame]:
        """See `FrameSource.frames`."""
        count = self.inputs[0].shape[0]
        for number in itertools.count() if self.repeat else range(count):
            place = number % count
            label = self.labels[place] if self.labels else None
            yield Frame(number, functools.partial(self._load, place), label=label)

    def _load(self, place: int) -> List[Tensor]:
        return [x[place : place + 1] for x in self.inputs]
