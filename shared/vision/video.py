"""Video files as frames; the only module that imports PyAV.

PyAV is imported when the first video is read: it is optional, as Pillow is.
"""

from __future__ import annotations

from typing import Any, Iterator, List, Sequence, Tuple

from legodnn.shared.errors import InputError, MissingExtra

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
"""Suffixes of video files, in lower case."""


def require_pyav() -> None:
    """Raise `MissingExtra` where PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        raise MissingExtra("PyAV is not installed; video files need it: pip install av") from None


def count_frames(path: str) -> int:
    """The number of frames of a video file, counted by decoding it, since the count in files is often wrong.

    Raises `InputError` naming the file for one that cannot be read, `MissingExtra` where PyAV is not installed.
    """
    return sum(1 for _ in _decoded(path))


def read_frames(path: str, numbers: Sequence[int]) -> List[Tuple[int, int, bytes]]:
    """Width, height and pixels of the frames with these indices, which never fall; repeated ones are allowed.

    Pixels are row by row, a byte each of red, green and blue. Raises as `count_frames` does, and `InputError` where the
    file has fewer frames.
    """
    found: List[Tuple[int, int, bytes]] = []
    for number, frame in enumerate(_decoded(path)):
        while len(found) < len(numbers) and numbers[len(found)] == number:
            found.append(found[-1] if found and numbers[len(found) - 1] == number else _pixels(frame))
        if len(found) == len(numbers):
            return found
    raise InputError(f"{path}: it has no frame {numbers[len(found)]}")


def _decoded(path: str) -> Iterator[Any]:
    require_pyav()
    import av

    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise InputError(f"{path}: no pictures in it")
            yield from container.decode(video=0)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders of damaged files raise whatever their code runs into
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not readable as a video ({reason.replace(f': {path!r}', '')})") from None


def _pixels(frame: Any) -> Tuple[int, int, bytes]:
    plane = frame.reformat(format="rgb24").planes[0]
    width, height, row = frame.width, frame.height, plane.line_size
    data = bytes(plane)
    # Decoders pad rows.
    return width, height, b"".join(data[y * row : y * row + 3 * width] for y in range(height))
