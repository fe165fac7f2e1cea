"""Kinds of layers with weights."""

from __future__ import annotations

import torch.nn as nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

PRUNABLE = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
"""Layers whose channels descendants lose."""
