"""Image files as pixels; with `drawing` the only module that imports Pillow.

Pillow is imported when the first image is read. It is optional, since raw frames of a camera do not need it. It is
imported in `shared`, so that the runtime's own imports are torch, pulp and the standard library.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable, Tuple

from legodnn.shared.errors import InputError, MissingExtra

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of image files, in lower case."""

_DEPTH_AT = 24
"""The offset of the bit depth in a PNG."""


def require_pillow(what: str = "a folder of images") -> None:
    """Raise `MissingExtra`, naming ``what`` needs Pillow, where it is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise MissingExtra(f"Pillow is not installed; {what} needs it: pip install pillow") from None


def read_image(path: str) -> Tuple[int, int, bytes]:
    """Width, height and pixels of an image file, turned upright by its EXIF orientation.

    Pixels are row by row, a byte each of red, green and blue; of an animation the first picture is taken. Raises
    `InputError` naming the file for one that cannot be read, is cut off or damaged, or has more than 8 bits per colour,
    `MissingExtra` where Pillow is not installed.
    """
    return _opened(path, _pixels)


def read_mask(path: str) -> Tuple[int, int, bytes]:
    """Width, height and values of a PNG file whose pixels are numbers: gray values, or indices into a palette.

    Values are row by row, a byte each, whatever the file packs them into. Raises as `read_image` does, and `InputError`
    for a file that is no PNG (others blur numbers) or whose pixels are colours.
    """
    return _opened(path, _numbers)


def write_image(path: str, width: int, height: int, pixels: bytes) -> None:
    """Write pixels, row by row, a byte each of red, green and blue, or one byte of brightness, as a file of the kind
    its suffix says. Raises `MissingExtra` where Pillow is not installed."""
    require_pillow()
    from PIL import Image

    Image.frombytes("RGB" if len(pixels) == 3 * width * height else "L", (width, height), pixels).save(path)


def write_mask(path: str, width: int, height: int, values: bytes) -> None:
    """Write numbers, row by row, a byte each, as a PNG with a palette, so that they can be told apart by eye."""
    require_pillow()
    from PIL import Image

    image = Image.frombytes("P", (width, height), values)
    image.putpalette(bytes(_shade(number, channel) for number in range(256) for channel in range(3)))
    image.save(path)


def _opened(path: str, read: Callable[[Any, str], Tuple[int, int, bytes]]) -> Tuple[int, int, bytes]:
    require_pillow()
    from PIL import Image

    try:
        # Warnings about odd metadata or very many pixels do not help.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return read(image, path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise whatever their code runs into
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not readable as an image ({reason.replace(f' {path!r}', '')})") from None


def _pixels(image: Any, path: str) -> Tuple[int, int, bytes]:
    from PIL import ImageOps

    _require_bytes(image, path)
    pixels = ImageOps.exif_transpose(image).convert("RGB")
    return pixels.width, pixels.height, pixels.tobytes()


def _numbers(image: Any, path: str) -> Tuple[int, int, bytes]:
    if image.format != "PNG":
        raise InputError(f"{path}: a {image.format} file; only a PNG keeps a mask's numbers as they are")
    _require_bytes(image, path)
    if image.mode not in ("1", "L", "P"):
        raise InputError(f"{path}: its pixels are colours ({image.mode}); a mask has one number per pixel")
    width, height = image.size
    if image.mode == "P":
        return width, height, image.tobytes()
    values = image.convert("L").tobytes()
    with open(path, "rb") as file:
        depth = file.read(_DEPTH_AT + 1)[_DEPTH_AT]
    # Pillow scales gray of fewer than 8 bits to 0..255.
    stretch = 255 // (2**depth - 1)
    return width, height, values.translate(bytes(value // stretch for value in range(256)))


def _require_bytes(image: Any, path: str) -> None:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise InputError(f"{path}: more than 8 bits per pixel and colour")


def _shade(number: int, channel: int) -> int:
    """VOC's colour of a number: its bits distributed over red, green and blue, the lowest as the highest bits."""
    return sum(((number >> (3 * i + channel)) & 1) << (7 - i) for i in range(3))
