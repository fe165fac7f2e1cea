"""Multi-head attention in plain operators, so that whole heads can be pruned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class PlainAttention(nn.Module):
    """``torch.nn.MultiheadAttention`` written out (Vaswani et al., *Attention is all you need*, NeurIPS 2017).

    Takes over the original's weights and call signature. Self-attention projects with one linear layer, attention
    between different tensors with three.
    """

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.batch_first = original.num_heads, original.batch_first
        size, has_bias = original.embed_dim, original.in_proj_bias is not None
        self.in_proj = nn.Linear(size, 3 * size, bias=has_bias)
        self.query, self.key, self.value = (nn.Linear(size, size, bias=has_bias) for _ in range(3))
        self.out_proj = nn.Linear(size, size, bias=original.out_proj.bias is not None)
        self.out_proj.load_state_dict(original.out_proj.state_dict())
        self.in_proj.weight.data.copy_(original.in_proj_weight.data)
        if has_bias:
            self.in_proj.bias.data.copy_(original.in_proj_bias.data)
        for i, layer in enumerate((self.query, self.key, self.value)):
            layer.weight.data = self.in_proj.weight.data[i * size : (i + 1) * size]
            if has_bias:
                layer.bias.data = self.in_proj.bias.data[i * size : (i + 1) * size]

    @staticmethod
    def can_replace(original: nn.MultiheadAttention) -> bool:
        """Whether the original has none of the rarer options: other sizes for keys, bias tokens, a zero token."""
        plain = original.in_proj_weight is not None and original.bias_k is None
        return plain and not original.add_zero_attn

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Any]:
        """(n, length, size) tensors (length first without ``batch_first``) to the same, and the weights if wanted."""
        if query is key and key is value:
            q, k, v = self._turned(self.in_proj(query)).chunk(3, -1)
        else:
            q, k, v = (self._turned(layer(x)) for layer, x in zip(self._layers(), (query, key, value), strict=True))
        q, k, v = (self._split(x) for x in (q, k, v))
        mask = attn_mask.unflatten(0, (-1, self.heads)) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
        result, weights = _attention(q, k, v, (mask, _spread(key_padding_mask)))
        result = result.transpose(1, 2).flatten(2)
        result = self.out_proj(self._turned(result))
        if not need_weights:
            return result, None
        return result, weights.mean(1) if average_attn_weights else weights

    def _layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value

    def _turned(self, x: Tensor) -> Tensor:
        """Batch first, whatever the callers keep first (or back again)."""
        return x if self.batch_first else x.transpose(0, 1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``scaled_dot_product_attention`` of torch, which devices with an old torch do not have, written out."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    causal = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).triu(1) if is_causal else None
    keep = ~attn_mask if attn_mask is not None and attn_mask.dtype == torch.bool else attn_mask
    return _attention(query, key, value, (keep, causal), scale)[0]


def _attention(
    query: Tensor, key: Tensor, value: Tensor, masks: Sequence[Tensor | None], scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """The attended values, and the weights. A mask is added to the logits or, where it is boolean, hides them."""
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    logits = torch.matmul(query * scale, key.transpose(-2, -1))
    for mask in masks:
        if mask is not None:
            logits = logits.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else logits + mask
    weights = F.softmax(logits, dim=-1)
    return torch.matmul(weights, value), weights


def _spread(padding: Tensor | None) -> Tensor | None:
    return None if padding is None else padding.unsqueeze(1).unsqueeze(2)
