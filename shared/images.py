"""Image files as pixels; with `drawing` the only home of Pillow.

Pillow is imported when the first image is read: it is optional, for a camera's raw frames need none, and devices should
not have to install what they do not use. It has its home here, beside the other libraries that are not ours, so that
the runtime's own imports stay torch, pulp and the standard library.
"""

from __future__ import annotations

import warnings
from typing import Tuple

from legodnn.shared.errors import InputError, MissingExtra

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What names of image files end in, in lower case."""


def require_pillow(what: str = "a folder of images") -> None:
    """Raise `MissingExtra`, naming ``what`` needs it, where Pillow is not installed."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise MissingExtra(f"Pillow is not installed; {what} needs it: pip install pillow") from None


def read_image(path: str) -> Tuple[int, int, bytes]:
    """Width, height and pixels of an image file, the right way up.

    Pixels are row by row, a byte each of red, green and blue; of an animation the first picture is taken. Raises
    `InputError` naming the file for one that cannot be read, is cut off or damaged, or has more than 8 bits per colour,
    `MissingExtra` where Pillow is not installed.
    """
    require_pillow()
    from PIL import Image, ImageOps

    try:
        # Odd metadata, or very many pixels, are no reason to say more than the results.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.mode in ("I", "F") or image.mode.startswith("I;"):
                    raise InputError(f"{path}: more than 8 bits per pixel and colour")
                pixels = ImageOps.exif_transpose(image).convert("RGB")
                return pixels.width, pixels.height, pixels.tobytes()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise whatever their code runs into
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not readable as an image ({reason.replace(f' {path!r}', '')})") from None
