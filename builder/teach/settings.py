"""How a teacher is to be trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How a teacher is trained: passes over the data, rate, device, seed, and the file of an interrupted run's
    state."""

    epochs: int
    learning_rate: float
    device: torch.device
    seed: int
    checkpoint: Path
