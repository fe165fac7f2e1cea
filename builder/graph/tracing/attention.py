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
    between different tensors, or tensors of different sizes, with three.
    """

    # What torch's transformer layers ask before they run as one operation, which reads the original's weights. These
    # answers keep them from it wherever the network runs; torch 2.1 has no switch for that.
    _qkv_same_embed_dim = False
    in_proj_bias = None

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self.original = [original]  # a list hides it from torch; `keep_whole` puts it back
        self.heads, self.batch_first = original.num_heads, original.batch_first
        joint, bias = original.in_proj_weight, original.in_proj_bias
        apart = (original.q_proj_weight, original.k_proj_weight, original.v_proj_weight)
        self.query, self.key, self.value = (
            _linear(weight, part)
            for weight, part in zip(
                apart if joint is None else joint.chunk(3), (None,) * 3 if bias is None else bias.chunk(3), strict=True
            )
        )
        self.in_proj = None if joint is None else _linear(joint, bias)
        self.out_proj = _linear(original.out_proj.weight, original.out_proj.bias)

    @staticmethod
    def can_replace(original: nn.MultiheadAttention) -> bool:
        """Whether the original has none of the rarer options: bias tokens, a zero token."""
        return original.bias_k is None and not original.add_zero_attn

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
        """(n, length, size) tensors (length first without ``batch_first``) to the same, and the weights if wanted.

        Tensors without a batch, (length, size), give such.
        """
        if query.dim() == 2:
            axis = 0 if self.batch_first else 1
            same = query is key and key is value
            batch = (query.unsqueeze(axis),) * 3 if same else [x.unsqueeze(axis) for x in (query, key, value)]
            padding = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
            result, weights = self(*batch, padding, need_weights, attn_mask, average_attn_weights, is_causal)
            return result.squeeze(axis), None if weights is None else weights.squeeze(0)
        if self.in_proj is not None and query is key and key is value:
            q, k, v = self._turned(self.in_proj(query)).chunk(3, -1)
        else:
            q, k, v = (self._turned(layer(x)) for layer, x in zip(self._layers(), (query, key, value), strict=True))
        q, k, v = (self._split(x) for x in (q, k, v))
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = torch.unflatten(attn_mask, 0, (-1, self.heads))
        result, weights = _attention(q, k, v, (attn_mask, _spread(key_padding_mask)))
        result = result.transpose(1, 2).flatten(2)
        result = self.out_proj(self._turned(result))
        if not need_weights:
            return result, None
        return result, weights.mean(1) if average_attn_weights else weights

    def _layers(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        return self.query, self.key, self.value

    def _turned(self, x: Tensor) -> Tensor:
        """From the callers' order of axes to batch first, or back again."""
        return x if self.batch_first else x.transpose(0, 1)

    def _split(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.heads, x.shape[-1] // self.heads)).transpose(1, 2)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A linear layer around weights that are there already."""
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach())
    return layer


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
    """``scaled_dot_product_attention`` in plain operators: torch before 2.0, on devices, does not have it."""
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
