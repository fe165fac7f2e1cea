"""GANomaly's adversarial training.

Akcay, Atapour-Abarghouei, Breckon, *GANomaly: semi-supervised anomaly detection via adversarial training*, ACCV 2018.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.teach.fit import Stateful, finite, run_epochs
from legodnn.builder.teach.settings import Settings
from legodnn.builder.zoo.anomaly.networks import Discriminator, GANomaly
from legodnn.shared.errors import ModelError

IMAGE, CODE = 50.0, 1.0
"""Weights of the losses of the reconstructed image and of its code beside that of the discriminator's features, as
published."""

BETAS = (0.5, 0.999)
"""Of Adam, usual in adversarial training. Not tuned."""


def train(model: nn.Module, loader: CheckedLoader, settings: Settings) -> None:
    """Batches (images in [-1, 1], ...) of normal images only. The discriminator, as wide as the encoder, is made here
    and is no part of the result. Raises `ModelError` for another network, and where the training diverges."""
    if not isinstance(model, GANomaly):
        raise ModelError(f"teacher.train: this trains a GANomaly, not a {type(model).__name__}")
    first = next(m for m in model.encoder.modules() if isinstance(m, nn.Conv2d))
    discriminator = Discriminator(loader.shape[-1], first.out_channels).to(settings.device)
    makers = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=BETAS)
    judges = torch.optim.Adam(discriminator.parameters(), lr=settings.learning_rate, betas=BETAS)
    model.train()

    def step(batch: Any) -> Tensor:
        images = batch[0].to(settings.device)
        again, code, second = model.reconstruct(images)
        with torch.no_grad():
            wanted = discriminator(images)[1]
        loss = F.mse_loss(discriminator(again)[1], wanted) + IMAGE * F.l1_loss(again, images)
        loss = finite(loss + CODE * F.mse_loss(second, code))
        makers.zero_grad()
        torch.autograd.backward(loss)
        makers.step()

        real, made = discriminator(images)[0], discriminator(again.detach())[0]
        doubt = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        doubt = doubt + F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))
        judges.zero_grad()
        torch.autograd.backward(doubt)
        judges.step()
        return loss.detach()

    parts: dict[str, Stateful] = {"model": model, "discriminator": discriminator, "makers": makers, "judges": judges}
    run_epochs(loader, settings, parts, step)
    model.eval()
