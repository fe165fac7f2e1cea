"""The ways to run a composition. Which is fastest depends on device and network, and is found by trying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch


@dataclass(frozen=True)
class Way:
    """A way to run: the layout of images in memory, and the engine.

    Engines: ``plain`` runs the operators as they were exported, ``optimized`` applies torch's inference passes,
    ``prepacked`` fuses oneDNN's operators and reorders weights beforehand, ``xnnpack`` does so with those of XNNPACK,
    ``compiled`` lets oneDNN compile whole stretches.
    """

    layout: str
    engine: str

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format

    def __str__(self) -> str:
        return f"{self.layout} {self.engine}"

    @classmethod
    def from_text(cls, text: object) -> "Optional[Way]":
        """The inverse of ``str``; None for anything that is no way."""
        return next((way for way in WAYS if str(way) == text), None)


WAYS = (
    Way("contiguous", "plain"),
    Way("contiguous", "optimized"),
    Way("channels_last", "plain"),
    Way("channels_last", "optimized"),
    Way("channels_last", "prepacked"),
    Way("channels_last", "xnnpack"),
    Way("contiguous", "compiled"),
    Way("channels_last", "compiled"),
)
