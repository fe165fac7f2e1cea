"""Pixels become inputs as frames do, and inputs pixels again."""

import pytest
import torch

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import InputError
from legodnn.shared.vision.pixels import read_pixels, to_pixels


def test_a_clip_of_pixels_is_read_frame_after_frame():
    pixels = torch.randint(0, 256, (2, 4, 6, 5, 3), dtype=torch.uint8)
    images = (pixels.float() / 255 - 0.5) / 0.25
    orders = {"NTCHW": (0, 1, 4, 2, 3), "NCTHW": (0, 4, 1, 2, 3)}
    for layout, order in orders.items():
        shape = (1, *images.permute(order).shape[1:])
        spec = InputSpec(shape, "float32", layout, (0.5,), (0.25,), ())
        assert torch.allclose(read_pixels(pixels, spec), images.permute(order), atol=1e-6)
        assert torch.equal(to_pixels(read_pixels(pixels, spec), spec), pixels)


def test_gray_pictures_have_three_equal_colours():
    spec = InputSpec((1, 1, 4, 5), "float32", "NCHW", (0.1,), (0.5,), ())
    gray = torch.randint(0, 256, (3, 4, 5, 1), dtype=torch.uint8).expand(-1, -1, -1, 3)
    read = read_pixels(gray, spec)
    assert torch.allclose(read[:, 0], (gray[..., 0].float() / 255 - 0.1) / 0.5, atol=1e-5)
    assert torch.equal(to_pixels(read, spec), gray)


def test_values_beyond_a_byte_are_cut_off():
    spec = InputSpec((1, 3, 1, 2), "float32", "NCHW", None, None, ())
    values = torch.tensor([-1.0, 2.0]).expand(1, 3, 1, 2)
    assert to_pixels(values, spec).tolist() == [[[[0] * 3, [255] * 3]]]


def test_numbers_for_other_channels_are_refused():
    spec = InputSpec((1, 3, 1, 2), "float32", "NCHW", (0.5, 0.5), None, ())
    with pytest.raises(InputError, match="mean has 2 numbers, its input 3 channels"):
        read_pixels(torch.zeros(1, 1, 2, 3, dtype=torch.uint8), spec)
