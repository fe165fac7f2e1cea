"""`Backend`: how a composition runs. Which is fastest depends on device and network, so all are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch


@dataclass(frozen=True)
class Backend:
    """The layout of images in memory, and the engine.

    Engines: ``plain`` runs the operators as they were exported, ``optimized`` applies torch's inference passes,
    ``prepacked`` fuses oneDNN's operators and reorders weights beforehand, ``xnnpack`` does so with those of XNNPACK,
    ``compiled`` compiles subgraphs with oneDNN.
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
    def from_text(cls, text: object) -> "Optional[Backend]":
        """The inverse of ``str``; None for anything else."""
        return next((backend for backend in BACKENDS if str(backend) == text), None)


BACKENDS = (
    Backend("contiguous", "plain"),
    Backend("contiguous", "optimized"),
    Backend("channels_last", "plain"),
    Backend("channels_last", "optimized"),
    Backend("channels_last", "prepacked"),
    Backend("channels_last", "xnnpack"),
    Backend("contiguous", "compiled"),
    Backend("channels_last", "compiled"),
)
"""All backends, in the order in which they are tried; of equally fast ones the first wins."""
