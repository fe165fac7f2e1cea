"""Training of semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.graph.values import tensors_in
from legodnn.builder.teach.fit import fit
from legodnn.builder.teach.settings import Settings
from legodnn.shared.errors import UsageError
from legodnn.shared.tasks.segmentation import IGNORED

PRECISIONS = ("fp32", "bf16")

WEIGHT_DECAY = 0.02
"""Of AdamW, decoupled from the gradient. Not tuned by itself; with it DeepLabv3-R18 reached a mean IoU of 0.762, with
Adam 0.747 (tests/benchmarks/results/applications-trials-torch2.14-x86-2cores.md)."""


def train(model: nn.Module, loader: CheckedLoader, settings: Settings, precision: str = "fp32") -> None:
    """Cross entropy of every pixel on batches (images, masks), half of them mirrored.

    By AdamW (Loshchilov, Hutter, *Decoupled weight decay regularization*, ICLR 2019). With ``precision`` bf16, layers
    compute in bfloat16 on processors with instructions for it, the weights being float32 (Micikevicius et al., *Mixed
    precision training*, ICLR 2018); elsewhere nothing changes. Raises `UsageError` for another precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"teacher.train: precision '{precision}' is none of {', '.join(PRECISIONS)}")
    faster = precision == "bf16" and settings.device.type == "cpu" and multiplies_bfloat16()

    def loss(network: nn.Module, batch: Any) -> Tensor:
        images, masks = (item.to(settings.device) for item in batch)
        if torch.rand(1).item() < 0.5:
            images, masks = images.flip(3), masks.flip(2)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=faster):
            scores = tensors_in(network(images))[0]
        return F.cross_entropy(scores.float(), masks, ignore_index=IGNORED)

    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    fit(model, loader, loss, settings, optimizer)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16 matrices (AMX); False where torch does not
    say."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16"))
