"""`Canvas`: drawing into pictures; with `images` the only module that imports Pillow, at its first use.

Positions are in pixels from the upper left corner. Shapes are clipped to the picture.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

from legodnn.shared.errors import MissingExtra
from legodnn.shared.vision.images import require_pillow

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Colour = Tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

Item = Tuple[Optional[Colour], str]
"""A text in a bar, with a patch of this colour before it; None for no patch."""

_DARK, _LIGHT = (24, 24, 24), (245, 245, 245)
_SMALLEST_TEXT, _LARGEST_TEXT = 14, 32
"""Colours of bars and texts, and points of texts; chosen by eye."""


def require_drawing() -> None:
    """Raise `MissingExtra` without Pillow, or with one too old to draw with."""
    require_pillow("drawing pictures")
    import PIL
    from PIL import ImageFont

    if not hasattr(ImageFont.ImageFont, "getbbox"):
        raise MissingExtra(f"Pillow {PIL.__version__} is too old to draw with: pip install --upgrade pillow")


class Canvas:
    """A picture to draw on."""

    def __init__(self, width: int, height: int, pixels: bytes) -> None:
        """``pixels`` are row by row, a byte each of red, green and blue. Raises `MissingExtra`."""
        require_drawing()
        from PIL import Image

        self._show(Image.frombytes("RGB", (width, height), pixels))

    @property
    def width(self) -> int:
        """Pixels from left to right, bars included."""
        return self._image.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom, bars included."""
        return self._image.height

    @property
    def stroke(self) -> int:
        """Pixels of a line's width, by the size of the picture; chosen by eye."""
        return max(3, max(self.width, self.height) // 160)

    def _show(self, image: "Image.Image") -> None:
        from PIL import ImageDraw

        self._image = image
        # Drawing in this mode lets colours be translucent; the picture itself has no transparency.
        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(image, "RGBA")

    # ---- size -------------------------------------------------------------------------------------------------------
    def resize_within(self, least: int, most: int) -> None:
        """Enlarge by an integer factor to a longer side of about ``least``; shrink to at most ``most``."""
        from PIL import Image

        longer = max(self.width, self.height)
        factor = max(1, round(least / longer))
        if factor > 1:
            size = self.width * factor, self.height * factor
            self._show(self._image.resize(size, Image.Resampling.NEAREST))
        elif longer > most:
            self._show(self._image.reduce(-(-longer // most)))

    @staticmethod
    def sheet(canvases: "Sequence[Canvas]", columns: int, gap: int) -> "Canvas":
        """Pictures of one size side by side in rows, ``gap`` pixels apart."""
        right, down = canvases[0].width + gap, canvases[0].height + gap
        width, height = columns * right - gap, -(-len(canvases) // columns) * down - gap
        made = Canvas(width, height, bytes(_LIGHT) * (width * height))
        for i, canvas in enumerate(canvases):
            made._image.paste(canvas._image, (i % columns * right, i // columns * down))
        return made

    # ---- shapes -----------------------------------------------------------------------------------------------------
    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """The outline of a rectangle, drawn inside it; nothing for one without an area, or with a NaN."""
        left, right = (min(max(side, 0.0), self.width) for side in (left, right))
        top, bottom = (min(max(side, 0.0), self.height) for side in (top, bottom))
        if left < right and top < bottom:
            x, y = int(left), int(top)
            width, height = max(1, round(right) - x), max(1, round(bottom) - y)
            stroke = min(self.stroke, (min(width, height) + 1) // 2)
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=stroke)

    def line(self, start: Tuple[float, float], end: Tuple[float, float], colour: Colour, opacity: float) -> None:
        """A straight line with dark edges; ``opacity`` from 0, invisible, to 1."""
        self._draw.line((*start, *end), fill=_translucent(_DARK, opacity), width=self.stroke + 2)
        self._draw.line((*start, *end), fill=_translucent(colour, opacity), width=self.stroke)

    def dot(self, x: float, y: float, colour: Colour, opacity: float) -> None:
        """A disc with a dark edge; ``opacity`` from 0, invisible, to 1."""
        radius = 2 * self.stroke
        place = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(place, fill=_translucent(colour, opacity), outline=_translucent(_DARK, opacity))

    def border(self, colour: Colour) -> None:
        """A frame all around, inside the picture."""
        self._draw.rectangle((0, 0, self.width - 1, self.height - 1), outline=colour, width=3 * self.stroke)

    def blend(self, width: int, height: int, numbers: bytes, palette: Sequence[Colour], opacity: float) -> None:
        """Colours over the whole picture: ``numbers`` (a byte each, row by row) are indices in the ``palette``."""
        from PIL import Image

        mask = Image.frombytes("P", (width, height), numbers)
        mask.putpalette([part for colour in palette for part in colour])
        over = mask.resize(self._image.size, Image.Resampling.NEAREST).convert("RGB")
        self._show(Image.blend(self._image, over, opacity))

    # ---- text -------------------------------------------------------------------------------------------------------
    def tag(self, left: float, bottom: float, text: str, colour: Colour) -> None:
        """A text on a patch of ``colour`` with its lower left corner here, moved into the picture."""
        writing = _Writing(self._image.size)
        text = writing.shortened(text, self.width)
        width, height = writing.width(text) + 2 * writing.margin, writing.height
        x, y = int(max(0, min(left, self.width - width))), int(max(0, min(bottom, self.height) - height))
        self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
        writing.write(self._draw, x + writing.margin, y, text, _readable_on(colour))

    def caption(self, text: str) -> None:
        """A text in a bar above the picture."""
        self._bar([(None, word) for word in text.split()], above=True)

    def legend(self, items: Sequence[Item]) -> None:
        """A legend of colours, in a bar below the picture."""
        self._bar(items, above=False)

    def _bar(self, items: Sequence[Item], above: bool) -> None:
        from PIL import Image

        writing = _Writing(self._image.size)
        lines = writing.lines(items, self.width)
        if not lines:
            return
        height = len(lines) * writing.height + writing.margin
        picture = Image.new("RGB", (self.width, self.height + height), _DARK)
        picture.paste(self._image, (0, height if above else 0))
        top = (0 if above else self.height) + writing.margin // 2
        self._show(picture)
        for i, line in enumerate(lines):
            writing.write_items(self._draw, line, top + i * writing.height)

    # ---- files ------------------------------------------------------------------------------------------------------
    def png(self) -> bytes:
        """The picture as a PNG file."""
        buffer = io.BytesIO()
        self._image.save(buffer, "PNG")
        return buffer.getvalue()


class _Writing:
    """Texts in a size that fits a picture."""

    def __init__(self, size: Tuple[int, int]) -> None:
        points = max(_SMALLEST_TEXT, min(_LARGEST_TEXT, max(size) // 32))
        self._font, self._any_letter = _font(points)
        self._top, self._bottom = (int(edge) for edge in self._font.getbbox("Ag|")[1::2])
        self.margin = max(4, points // 3)
        self.height = self._bottom - self._top + self.margin

    def width(self, text: str) -> int:
        """Pixels from the first letter to the last."""
        return int(self._font.getbbox(self._written(text))[2])

    def shortened(self, text: str, limit: int) -> str:
        """The text, cut where it does not fit into ``limit`` pixels with a margin at both ends."""
        if self.width(text) + 2 * self.margin <= limit:
            return text
        text = text[:limit]  # a letter takes a pixel at the least
        while text and self.width(text + "...") + 2 * self.margin > limit:
            text = text[:-1]
        return text + "..."

    def write(self, draw: "ImageDraw.ImageDraw", x: int, y: int, text: str, colour: Colour) -> None:
        """A text whose line begins here."""
        draw.text((x, y + self.margin // 2 - self._top), self._written(text), fill=colour, font=self._font)

    def lines(self, items: Sequence[Item], limit: int) -> List[List[Item]]:
        """The items in lines of at most ``limit`` pixels; items too long for a line are shortened."""
        made: List[List[Item]] = []
        used = limit
        for colour, text in items:
            patch = self._patch(colour)
            text = self.shortened(text, limit - patch)
            needed = patch + self.width(text) + self._gap(colour)
            if used + needed > limit - self.margin:
                made.append([])
                used = self.margin
            made[-1].append((colour, text))
            used += needed
        return made

    def write_items(self, draw: "ImageDraw.ImageDraw", items: Sequence[Item], y: int) -> None:
        """One line of a bar."""
        x = self.margin
        for colour, text in items:
            if colour is not None:
                side = self.height - self.margin
                top = y + self.margin // 2
                draw.rectangle((x, top, x + side - 1, top + side - 1), fill=colour)
            x += self._patch(colour)
            self.write(draw, x, y, text, _LIGHT)
            x += self.width(text) + self._gap(colour)

    def _patch(self, colour: Optional[Colour]) -> int:
        return 0 if colour is None else self.height

    def _gap(self, colour: Optional[Colour]) -> int:
        return self.margin if colour is None else 3 * self.margin

    def _written(self, text: str) -> str:
        return text if self._any_letter else text.encode("latin-1", "replace").decode("latin-1")


def _font(points: int) -> Tuple[Any, bool]:
    """Pillow's own font, and whether it has all letters: without FreeType, or in an old Pillow, it has Latin-1 only."""
    from PIL import ImageFont

    try:
        return ImageFont.load_default(points), True
    except (TypeError, ImportError):
        return ImageFont.load_default(), False


def _translucent(colour: Colour, opacity: float) -> Tuple[int, int, int, int]:
    return (*colour, round(255 * opacity))


def _readable_on(colour: Colour) -> Colour:
    red, green, blue = colour
    return _DARK if 299 * red + 587 * green + 114 * blue > 128_000 else _LIGHT
