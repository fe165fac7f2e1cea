"""Attention as people write it: parts that take and return images (n, 8, 8, 8), to sit in `odd_networks.Around`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Attention(nn.Module):
    """`torch.nn.MultiheadAttention`: ``how`` is "self", "masked", "cross", "sizes" (keys of another size) or "tokens",
    where the condition around it depends on the data."""

    def __init__(self, how: str = "self", batch_first: bool = True) -> None:
        super().__init__()
        self.how, self.batch_first = how, batch_first
        sizes = {"kdim": 12, "vdim": 12} if how == "sizes" else {}
        self.attention = nn.MultiheadAttention(16, 4, batch_first=batch_first, **sizes)
        self.up, self.other, self.down = nn.Linear(8, 16), nn.Linear(8, 12 if sizes else 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).permute((0, 2, 1) if self.batch_first else (2, 0, 1))
        query = self.up(tokens)
        key = self.other(tokens) if self.how in ("cross", "sizes") else query
        mask = torch.ones(64, 64, dtype=torch.bool).triu(1) if self.how == "masked" else None
        if self.how == "tokens" and float(query.sum()) > 1e9:
            return x
        result, _ = self.attention(query, key, key, attn_mask=mask, need_weights=False)
        result = self.down(F.gelu(result)).permute((0, 2, 1) if self.batch_first else (1, 2, 0))
        return result.reshape(x.shape)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.layer(self.up(x.flatten(2).transpose(1, 2)))).transpose(1, 2).reshape(x.shape)


class Encoders(nn.Module):
    """Two encoder layers in torch's container, which leaves out what a mask hides if it is given one."""

    def __init__(self, padded: bool) -> None:
        super().__init__()
        self.padded, self.up, self.down = padded, nn.Linear(8, 16), nn.Linear(16, 8)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        padding = tokens[:, :, 0] > 1e9 if self.padded else None
        return self.down(self.layers(self.up(tokens), src_key_padding_mask=padding)).transpose(1, 2).reshape(x.shape)


class ScaledDotProduct(nn.Module):
    """Attention and a transformer's two layers as networks write them today."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.project = nn.LayerNorm(8), nn.Linear(8, 3 * 32, bias=False), nn.Linear(32, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        n, length, _ = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).reshape(n, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, 32)
        tokens = tokens + self.project(mixed)
        return (tokens + self.mlp(tokens)).transpose(1, 2).reshape(x.shape)


ATTENTION: Mapping[str, Callable[[], nn.Module]] = {
    "self": Attention,
    "masked": lambda: Attention("masked"),
    "cross": lambda: Attention("cross"),
    "keys of another size": lambda: Attention("sizes"),
    "length first": lambda: Attention(batch_first=False),
    "cross, length first": lambda: Attention("cross", batch_first=False),
    "encoder layer": Encoder,
    "scaled dot product": ScaledDotProduct,
}
"""Parts with attention, which torch computes in another order than written out."""
