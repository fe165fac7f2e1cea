"""The samples of a bundle's self-test: which test images, in which form, and how many.

Samples are pixels before mean and std wherever the test data are pictures, so that a device reads them as it reads its
frames, and a wrong normalisation shows. A loader gives tensors; they become pixels by undoing the normalisation and
rounding to bytes. Expected outputs are those of the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.paths import TeacherTap
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.bundle.self_test import pixel_shape
from legodnn.shared.errors import DataError
from legodnn.shared.vision.pixels import read_pixels, to_pixels

SHARE = 0.1
"""Of the bytes of the teacher's weights, as they are stored: the most that samples and expected outputs weigh. What was
asked for: a pose network of 8.8 MiB had become a bundle of 48 MiB."""

LEAST = 256
"""Elements of an expected output that are kept at least, of all samples together. Not tuned: the relative error of so
many is within a few per cent of that of all."""

LOOKED_AT, TOGETHER = 4, 32
"""Test images that samples are chosen from, for each sample; and how many run through the network at once, which is
also how many are looked at where fewer samples are asked for. Not tuned."""

_ROUNDING = 0.52
"""Steps of a byte by which a pixel may differ from the loader's tensor: half a step is rounding, the rest float32."""

_SAME_ANSWERS = 0.05
"""The relative error of answers that counts as rounding, where some pixels had to be cut off at 0 or 255, as those of a
bicubic resize that overshoots. Not tuned."""

_BLACK, _DARK = 0.02, 0.1
"""The darkest pixel of tensors from 0 to 1 is at most `_BLACK` where they are not normalised; means up to `_DARK` do
not tell. Not tuned."""

_FEWEST, _BYTES = 32, 256
"""How many different values a channel has that was made of bytes. Not tuned: fewer may be masks or drawings."""

_UNEVEN = 0.05
"""By how much distances of values may differ from whole numbers of the least one, as float32 does. Not tuned."""

_FINEST = 0.9
"""Of a step of a byte: pictures with finer steps were normalised with another std. 255/256, as some divide, is above
it. Coarser steps prove nothing. Not tuned."""

Answers = Callable[[Sequence[Tensor]], list[Tensor]]
"""The teacher's outputs for inputs."""


@dataclass(frozen=True)
class Candidates:
    """Test images as the network reads them (a batch per input), and their labels (None for none).

    ``pixels`` are the same as uint8; where there are none, the samples are tensors for this ``reason``.
    """

    inputs: list[Tensor]
    labels: Tensor | None
    pixels: Tensor | None = None
    reason: str = ""

    @property
    def stored(self) -> list[Tensor]:
        """What a bundle stores of them."""
        return self.inputs if self.pixels is None else [self.pixels]

    def __len__(self) -> int:
        return len(self.inputs[0])

    def part(self, start: int, count: int) -> Candidates:
        """``count`` of them from ``start`` on."""
        chosen = slice(start, start + count)
        labels = None if self.labels is None else self.labels[chosen]
        pixels = None if self.pixels is None else self.pixels[chosen]
        return Candidates([x[chosen].contiguous() for x in self.inputs], labels, pixels, self.reason)


def first_images(blocks: AutoBlockManager, loader: Iterable[Any], count: int) -> Candidates:
    """The first ``count`` images of a loader, or all where it has fewer. Raises `DataError` for one without batches."""
    rows: list[list[Tensor]] = []
    labels: list[Any] = []
    tap, found = TeacherTap(blocks), 0
    for data in loader:
        batch = next(iter(tap.batches(blocks, [data])))
        rows.append([batch.teacher[node].float().cpu()[: count - found] for node in blocks.graph.inputs])
        labels.append(data[1] if isinstance(data, (tuple, list)) and len(data) > 1 else None)
        found += len(rows[-1][0])
        if found >= count:
            break
    if not rows:
        raise DataError("the sample loader yields no batches")
    inputs = [torch.cat(column).contiguous() for column in zip(*rows, strict=True)]
    if all(isinstance(y, Tensor) and y.dim() == 1 and not y.is_floating_point() for y in labels):
        return Candidates(inputs, torch.cat([y.cpu().long() for y in labels])[: len(inputs[0])])
    return Candidates(inputs, None)


def check_normalised(blocks: AutoBlockManager, loader: Iterable[Any], spec: InputSpec) -> None:
    """Look at the first images of a loader before anything is made of it: raise `DataError` where pictures cannot have
    been normalised by the recipe's mean and std, as `pictured` does."""
    if pixel_shape(spec) is not None and len(blocks.graph.inputs) == 1:
        with torch.random.fork_rng(devices=[]):
            _require_normalised(first_images(blocks, loader, TOGETHER).inputs[0], spec)


def pictured(found: Candidates, spec: InputSpec, answers: Answers) -> Candidates:
    """The candidates as pixels where they are pictures, their inputs as a device reads them from these.

    Raises `DataError` where the recipe's mean and std do not belong to the loader's tensors.
    """
    if len(found.inputs) != 1:
        return _as_tensors(found, "the network takes several inputs")
    if pixel_shape(spec) is None:
        return _as_tensors(found, "the network takes no pictures of one or three channels")
    [loaded] = found.inputs
    _require_normalised(loaded, spec)
    pixels = to_pixels(loaded, spec)
    read = read_pixels(pixels, spec)
    off = float(((read - loaded).abs() * _per_channel(spec, spec.std, 1.0) * 255 > _ROUNDING).double().mean())
    if off and spec.mean is None and spec.std is None:
        return _as_tensors(found, "values beyond 0 and 1, and neither bundle.mean nor bundle.std is given")
    if off:
        seen, meant = answers([read[:TOGETHER]]), answers([loaded[:TOGETHER]])
        error = max(_relative(a, b) for a, b in zip(seen, meant, strict=True))
        if not error <= _SAME_ANSWERS:
            raise DataError(
                f"data.test: {off:.1%} of its values are no pixels by bundle.mean and bundle.std, and on what a device "
                f"would read instead the teacher answers otherwise (relative error {error:.2g}); "
                "give the mean and std that the loader normalises with"
            )
    return Candidates([read], found.labels, pixels)


def affordable(asked: int, sample_bytes: int, outputs: Sequence[Tensor], cases: int, limit: float) -> int:
    """How many samples fit into ``limit`` bytes beside the least of their expected outputs: at least 1, at most
    ``asked``; ``outputs`` are those of one sample."""
    fitting = [n for n in range(1, asked + 1) if n * sample_bytes + _output_bytes(outputs, n, LEAST, cases) <= limit]
    return max(fitting, default=1)


def steps(outputs: Sequence[Tensor], cases: int, limit: float) -> tuple[int, ...]:
    """The step of every output at which the expected elements of all cases fit into ``limit`` bytes, or at which
    `LEAST` of them are left; ``outputs`` are those of all samples. Empty where all fit.

    A step has no factor in common with the output's size, so that its elements come from all rows, columns, channels
    and samples.
    """
    low, high = LEAST, max(LEAST, *(o.numel() for o in outputs))
    while low < high:  # the most elements of an output that fit
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _output_bytes(outputs, 1, middle, cases) <= limit else (low, middle - 1)
    found = tuple(_step(o.numel(), low) for o in outputs)
    return () if set(found) == {1} else found


def _step(elements: int, most: int) -> int:
    step = -(-elements // most)
    while step > 1 and math.gcd(step, elements) > 1:
        step += 1
    return step


def _output_bytes(outputs: Sequence[Tensor], samples: int, most: int, cases: int) -> int:
    return cases * sum(min(samples * o.numel(), most) * o.element_size() for o in outputs)


def _as_tensors(found: Candidates, reason: str) -> Candidates:
    return Candidates(found.inputs, found.labels, None, reason)


def _require_normalised(loaded: Tensor, spec: InputSpec) -> None:
    """Raise `DataError` for tensors that cannot have been normalised by the recipe's mean and std.

    Tensors from 0 to 1 would be pictures of which no pixel is darker than the mean. Pictures of bytes have values in
    equal steps, which std fixes.
    """
    raw = 0.0 <= float(loaded.min()) <= _BLACK and float(loaded.max()) <= 1.0
    if raw and spec.mean is not None and min(spec.mean) > _DARK:
        raise DataError(
            "data.test: its tensors lie between 0 and 1, so they are not normalised by bundle.mean and bundle.std; "
            "normalise them in the loader, or leave both out of the recipe"
        )

    if spec.std is None:
        return
    step = _byte_step(loaded.movedim(spec.layout.index("C"), 0)[0].flatten()) * spec.std[0] * 255
    if 0 < step < _FINEST:
        raise DataError(
            f"data.test: its pictures were not normalised by bundle.std: neighbouring values are {step:.2f} steps of a "
            "byte apart by it; give the mean and std that the loader normalises with"
        )


def _byte_step(values: Tensor) -> float:
    """The least distance of values that lie in equal steps, as those made of bytes do; 0 for others."""
    found = torch.unique(values).double()
    if len(found) < _FEWEST:
        return 0.0
    apart = found.diff()
    # The same byte may become neighbouring floats.
    apart = apart[apart > float(found[-1] - found[0]) / _BYTES / 50]
    if not _FEWEST <= len(apart) + 1 <= _BYTES:
        return 0.0
    step = float(apart.min())
    whole = apart / step
    return step if float((whole - whole.round()).abs().max()) < _UNEVEN else 0.0


def _per_channel(spec: InputSpec, values: Sequence[float] | None, default: float) -> Tensor:
    """Numbers for the channels, shaped to the network's input."""
    place = spec.layout.index("C")
    shape = [1] * len(spec.shape)
    shape[place] = -1
    return torch.tensor([default] if values is None else list(values)).view(shape)


def _relative(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return math.inf
    return float((found.double() - wanted.double()).norm()) / max(float(wanted.double().norm()), 1e-12)
