"""How a teacher is to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How long and how fast a teacher learns, where, from which seed, and the file that an interrupted run left."""

    epochs: int
    learning_rate: float
    device: torch.device
    seed: int
    checkpoint: Path
