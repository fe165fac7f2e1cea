"""Seeding."""

from __future__ import annotations

import random

import numpy as np
import torch


def set_random_seed(seed: int) -> None:
    """Seed Python, numpy and torch, and ask CUDA for algorithms that give the same result every time."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # users' loaders may draw from it
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
