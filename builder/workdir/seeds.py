"""Seeding."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

EPOCHS = 10_007
"""Seeds of epochs lie so far apart for seeds that are neighbours: more than anyone trains. A prime; not tuned."""


def seed_epoch(loader: Any, seed: int, epoch: int) -> None:
    """Seed everything that a pass over ``loader`` may draw from: every epoch has an order and an augmentation of its
    own, and the same ones when it is repeated."""
    number = seed * EPOCHS + epoch
    set_random_seed(number)
    loader = getattr(loader, "loader", loader)  # inside the one that checks batches
    for owner in (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(number)
        set_epoch = getattr(owner, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)


def set_random_seed(seed: int) -> None:
    """Seed Python, numpy and torch, and ask CUDA for algorithms that give the same result every time."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # users' loaders may draw from it
    torch.manual_seed(seed % 2**63)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
