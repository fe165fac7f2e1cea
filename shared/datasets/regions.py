"""Regions of a picture as masks: polygons, and COCO's run lengths."""

from __future__ import annotations

import math
from typing import Any, List

import torch
from torch import Tensor

from legodnn.shared.errors import InputError


def region_mask(segmentation: Any, height: int, width: int) -> Tensor:
    """The mask, bool (height, width), of an annotation's ``segmentation``: the union of a list of polygons, or run
    lengths.
    Raises `InputError` for anything else."""
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError("its segmentation is neither polygons nor run lengths")
    mask = torch.zeros(height, width, dtype=torch.bool)
    for polygon in segmentation:
        mask |= polygon_mask(polygon, height, width)
    return mask


def polygon_mask(polygon: Any, height: int, width: int) -> Tensor:
    """The pixels, bool (height, width), whose centre is in a polygon [x, y, x, y, ...], by the even-odd rule. Raises
    `InputError` for one of fewer than three corners."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(map(finite, polygon)):
        raise InputError("a polygon that is no list of at least three corners")
    corners = torch.tensor(polygon, dtype=torch.float64).view(-1, 2)
    x0, y0 = corners.unbind(1)
    x1, y1 = corners.roll(-1, 0).unbind(1)
    rows = torch.arange(height, dtype=torch.float64).unsqueeze(1) + 0.5
    row, edge = ((y0 <= rows) != (y1 <= rows)).nonzero().unbind(1)
    share = (rows[row, 0] - y0[edge]) / (y1 - y0)[edge]
    crossing = x0[edge] + share * (x1 - x0)[edge]
    # Each crossing changes inside and outside for the pixels right of it.
    first = (crossing - 0.5).ceil().clamp(0, width).long()
    turns = torch.zeros(height, width + 1, dtype=torch.int32)
    turns.index_put_((row, first), torch.ones_like(first, dtype=torch.int32), accumulate=True)
    return turns.cumsum(1)[:, :width] % 2 == 1


def _of_runs(runs: Any, height: int, width: int) -> Tensor:
    counts = runs.get("counts")
    if runs.get("size") != [height, width]:
        raise InputError(f"its run lengths are for {runs.get('size')}, the image is [{height}, {width}]")
    lengths = _unpacked(counts) if isinstance(counts, str) else counts
    valid = isinstance(lengths, list) and all(isinstance(n, int) and n >= 0 for n in lengths)
    if not valid or sum(lengths) != height * width:
        raise InputError(f"its run lengths do not add up to the {height * width} pixels of the image")
    values = torch.arange(len(lengths)) % 2 == 1
    return values.repeat_interleave(torch.tensor(lengths, dtype=torch.long)).view(width, height).t().contiguous()


def _unpacked(text: str) -> List[int]:
    """The lengths in COCO's text: five bits per character, the lowest first; from the third on as differences."""
    lengths: List[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError("its run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError("its run lengths are cut off")
    return lengths


def finite(value: Any) -> bool:
    """Whether a value from a file is a finite number below 1e9."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 and math.isfinite(value)
