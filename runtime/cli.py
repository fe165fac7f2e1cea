"""The command `legodnn-run`: its arguments. What they set going is in `session`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import List, Optional

from legodnn.runtime.frames.pixels import PIXEL_FORMATS, PixelFormat, parse_size
from legodnn.runtime.session import Request, run
from legodnn.shared.console import CommandParser, run_command, version
from legodnn.shared.errors import UsageError
from legodnn.shared.units import parse_bytes, parse_seconds

NAME = "legodnn-run"

TENSOR = "tensor"
"""The format of frames that need no conversion."""

_FASTEST, _SLOWEST = 10_000.0, 0.001

_EXAMPLES = """
examples:
  legodnn-run fashion.lgb                              the most accurate network, and what else can be had
  legodnn-run fashion.lgb --time 5ms --memory 1.5MiB   the best within a budget, run on the bundle's samples
  legodnn-run fashion.lgb --input photos               the image files in a folder (needs Pillow)
  legodnn-run fashion.lgb --input clip.raw             raw tensors from a file, one after the other
  legodnn-run fashion.lgb --info                       what is in the bundle
  legodnn-run fashion.lgb --self-test                  does this device compute what the builder computed?

video, from a file or a camera, through ffmpeg:
  ffmpeg -loglevel error -i clip.mp4 -f rawvideo -pix_fmt rgb24 -s 640x480 - |
      legodnn-run fashion.lgb --input - --format rgb24 --size 640x480 --json
  ffmpeg -loglevel error -f v4l2 -i /dev/video0 -f rawvideo -pix_fmt rgb24 -s 640x480 - |
      legodnn-run fashion.lgb --input - --format rgb24 --size 640x480 --fps 10

the camera of a Raspberry Pi (a width that is a multiple of 64, or rows come with padding):
  rpicam-vid -n -t 0 --codec yuv420 --width 640 --height 480 -o - |
      legodnn-run fashion.lgb --input - --format yuvj420p --size 640x480 --fps 10

Formats have ffmpeg's names. yuv420p has video's range (brightness 16 to 235), yuvj420p the full one (0 to 255), which
is what rpicam-vid gives; both ITU-R BT.601. Images are stretched to the network's size and normalised as the bundle
says. A tensor frame is the network's input without the batch dimension, its numbers row by row, little-endian (--info
shows shape and dtype).

Without --fps every frame is run, and who writes into a pipe waits meanwhile. With --fps N, at most N frames a second of
a pipe or camera are run, always the latest; frames of a file or folder are due N a second, and those that are late are
left out. The dropped ones are counted.

Latencies are measured on the first run and remembered per device, bundle and number of threads.

Ctrl-C and SIGTERM finish the frame that is underway and print the summary; a second one ends at once.
exit status: 0 done, or ended by SIGTERM; 2 something was wrong (one line on stderr says what); 130 interrupted with
Ctrl-C; 141 whoever read the output went away
"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run `legodnn-run`; returns the exit status."""
    return run_command(NAME, lambda: run(_request(sys.argv[1:] if arguments is None else arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=NAME,
        description="Run a LegoDNN bundle: the most accurate network that fits the time and the memory there is.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", help="a *.lgb file")
    parser.add_argument("--time", metavar="TIME", help="budget per inference: 5ms, 0.2s, 800us")
    parser.add_argument("--memory", metavar="SIZE", help="budget for weights and peak activations: 4.5MiB, 800kB")
    parser.add_argument(
        "--input", metavar="SOURCE", help="raw frames from a file, or from standard input (-); or a folder of images"
    )
    parser.add_argument(
        "--format", metavar="FORMAT", help=f"what raw frames are: {', '.join((TENSOR, *PIXEL_FORMATS))}"
    )
    parser.add_argument("--size", metavar="WxH", help="width and height of raw frames that are pixels: 640x480")
    parser.add_argument("--fps", metavar="N", help="frames per second; frames there is no time for are dropped")
    parser.add_argument("--frames", metavar="N", type=int, help="stop after N frames")
    parser.add_argument("--threads", metavar="N", type=int, help="CPU threads to use (default: torch's choice)")
    parser.add_argument("--info", action="store_true", help="show what is in the bundle and stop")
    parser.add_argument("--self-test", action="store_true", help="compare with the builder's results and stop")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of text")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    return parser


def _request(arguments: List[str]) -> Request:
    options = _parser().parse_args(arguments)
    for name, value in (("--frames", options.frames), ("--threads", options.threads)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: give a number of at least 1")
    return Request(
        bundle=options.bundle,
        seconds=parse_seconds(options.time) if options.time is not None else None,
        memory=parse_bytes(options.memory) if options.memory is not None else None,
        input=options.input,
        pixels=_pixels(options),
        fps=_fps(options.fps) if options.fps is not None else None,
        frames=options.frames,
        threads=options.threads,
        info=options.info,
        self_test=options.self_test,
        json=options.json,
    )


def _pixels(options: argparse.Namespace) -> Optional[PixelFormat]:
    """The pixel format of raw frames; None where frames are tensors, or images that say themselves what they are."""
    given = "--format" if options.format is not None else "--size"
    if (options.format, options.size) == (None, None):
        return None
    if options.input is None:
        raise UsageError(f"{given} goes with --input")
    if os.path.isdir(options.input):
        raise UsageError(f"{given} is for raw frames; {options.input} is a folder, whose images need none")
    name = options.format or TENSOR
    if name == TENSOR:
        if options.size is not None:
            raise UsageError(f"--size goes with --format, one of {', '.join(PIXEL_FORMATS)}")
        return None
    if name not in PIXEL_FORMATS:
        raise UsageError(f"--format {name}: not known; known are {', '.join((TENSOR, *PIXEL_FORMATS))}")
    if options.size is None:
        raise UsageError(f"--format {name} needs --size, the frames' width and height: --size 640x480")
    return PixelFormat(name, *parse_size(options.size))


def _fps(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _SLOWEST <= value <= _FASTEST:
        raise UsageError(f"--fps {text}: frames per second expected, from {_SLOWEST:g} to {_FASTEST:g}")
    return value


if __name__ == "__main__":
    sys.exit(main())
