"""The arguments of `legodnn-run BUNDLE...`, and its help."""

from __future__ import annotations

import argparse
from typing import List

from legodnn.runtime.command import session
from legodnn.runtime.command.options import TENSOR, request_of
from legodnn.runtime.frames.pixels import PIXEL_FORMATS
from legodnn.shared.console import CommandParser, exit_statuses, version

_EXAMPLES = """
examples:
  legodnn-run fashion.lgb                              the most accurate network, and other achievable ones
  legodnn-run fashion.lgb --time 5ms --memory 12MiB    the best within a budget, run on the bundle's samples
  legodnn-run fashion.lgb --input photos               the image files in a folder (needs Pillow)
  legodnn-run fashion.lgb --input clip.raw             raw tensors from a file, one after the other
  legodnn-run scenes.lgb --input photos --render out   also draw the boxes, masks or keypoints into pictures
  legodnn-run fashion.lgb --info                       what is in the bundle
  legodnn-run fashion.lgb --self-test                  does this device compute what the builder computed?

accuracy on a data set of your own, or one that 'python -m legodnn.builder.zoo.write' has written (needs Pillow):
  legodnn-run fashion.lgb --evaluate photos --memory 12MiB

DATA is a folder in a format of the field. Classification: a sub-folder for each class. Segmentation: images/ and masks/
(PNG masks of class numbers, 255 is ignored), VOC's JPEGImages/ and SegmentationClass/, or COCO's JSON. Detection:
COCO's JSON, or VOC's JPEGImages/ and Annotations/. A part of VOC's is named by the path of its list, as in
VOC2012/ImageSets/Main/val.txt. Actions: a sub-folder for each class, with folders of frames or video files (these need
PyAV). Anomalies: sub-folders, what is normal in one called good or normal. Poses: COCO's keypoints. Classes are known
by the bundle's labels. What is broken is left out, counted and named.

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

A network for clips takes a folder in which every folder of images is a clip (or one such folder), its frames
spread evenly over the images; of raw pixels always the last frames, anew whenever half of them have been replaced.
What is said here of frames is then true of clips.

--render needs Pillow, and takes its time between frames, not from what an inference is said to take. Pictures show the
image itself, or for clips and tensors what the network sees of it; several networks each get a folder of their own.

Without --fps every frame is run, and who writes into a pipe waits meanwhile. With --fps N, at most N frames a second of
a pipe or camera are run, always the latest; frames of a file or folder are due N a second, and those that are late are
left out. The dropped ones are counted.

several networks in one process:
  legodnn-run faces.lgb signs.lgb --rate faces=10 --rate signs=5 --memory 60MiB
  legodnn-run left=faces.lgb right=faces.lgb --rate 10 --input left=a.raw --input right=b.raw

A network's name is its file's without the suffix, or what stands before the file: NAME=FILE; two of one name are
refused. An option that takes [NAME=]VALUE counts for the network of that name, or without NAME for all. The networks
share memory (--memory is for all together, as if all ran at the same moment) and the cores (--cores). Each takes its
--rate of frames a second: an inference has to end within its --deadline and before the next frame is due. What is
chosen has the largest sum of accuracies, each times its --weight.

resources that change:
  legodnn-run fashion.lgb --memory 12MiB --adapt       also leave other processes what they need
  legodnn-run fashion.lgb --schedule budgets.csv       lines like 30s,5ms,12MiB under the line at,time,memory
  legodnn-run fashion.lgb --step 13MiB --step 5ms,12MiB  SIGUSR1 goes to the next

All that is given holds at once. What no longer fits is replaced within half a second; where nothing fits, the nearest
selection runs. Something better comes once what runs has run for five seconds, and if a tenth is left to spare.

On a terminal one screen shows what runs, what it needs and what was decided; --plain prints lines instead, as is done
in a pipe. The last lines follow once the screen is gone. There are no colours where the variable NO_COLOR is set.

Latencies and memory are measured on the first run and cached per device, bundle and number of threads. Memory is
the peak increase of the process while frames run; where it cannot be measured (all but Linux), it is the weights and
the activation peak by the bundle.

Ctrl-C and SIGTERM finish the frames in progress and print a summary; a second one ends at once.

A first word that is a subcommand is one; a file of such a name is ./NAME. Without one, 'run' is meant.

exit status (a run that SIGTERM ends is done):
"""


def run(name: str, arguments: List[str]) -> int:
    """Run the arguments; returns the exit status. ``name`` is the command's.

    Raises `LegoError`, `OSError`, `KeyboardInterrupt`.
    """
    return session.run(request_of(parser(name).parse_intermixed_args(arguments)))


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of the arguments."""
    parser = CommandParser(
        prog=name,
        description="Run a LegoDNN bundle: the most accurate network for the available time and memory.",
        epilog=_EXAMPLES + exit_statuses(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundles", metavar="[NAME=]FILE", nargs="+", help="a *.lgb file; several of them run side by side")
    add("--time", metavar="TIME", help="budget per inference: 5ms, 0.2s, 800us")
    add("--memory", metavar="SIZE", help="budget for memory, see below: 12MiB, 800kB")
    add("--threads", metavar="N", type=int, help="CPU threads to use (default: torch's choice)")
    add("--frames", metavar="N", type=int, help="stop after N frames (of each network)")
    add("--measure", action="store_true", help="measure this device again")
    add("--info", action="store_true", help="show the bundle's content and the measurements of this device, and stop")
    add("--self-test", action="store_true", help="compare with the builder's results and stop")
    add("--evaluate", metavar="DATA", help="evaluate the choice on a data set, see below, and stop")
    threshold = "with --evaluate, of two classes: the second where its probability is above P (default: 0.5)"
    add("--threshold", metavar="P", help=threshold)
    add("--json", action="store_true", help="one JSON object a line instead of text")
    add("--plain", action="store_true", help="lines of text on a terminal, too, instead of one screen")
    add("--debug", action="store_true", help="print the traceback of whatever goes wrong")
    add("--version", action="version", version=f"%(prog)s {version()}")

    add = parser.add_argument_group("frames").add_argument
    sources = "a file of raw frames, standard input (-), or a folder of images or clips"
    add("--input", metavar="[NAME=]SOURCE", action="append", help=sources)
    formats = f"what raw frames are: {', '.join((TENSOR, *PIXEL_FORMATS))}"
    add("--format", metavar="[NAME=]FORMAT", action="append", help=formats)
    size = "width and height of raw frames that are pixels: 640x480"
    add("--size", metavar="[NAME=]WxH", action="append", help=size)
    add("--fps", metavar="N", help="frames per second; late frames are dropped (one network)")
    add("--render", metavar="DIR", help="draw the answers: a PNG file for every frame goes into this folder")

    add = parser.add_argument_group("several networks").add_argument
    add("--rate", metavar="[NAME=]N", action="append", help="frames per second a network has to process")
    add("--deadline", metavar="[NAME=]TIME", action="append", help="the most an inference may take (default: 1/rate)")
    add("--weight", metavar="NAME=W", action="append", help="what a network's accuracy counts (default: 1)")
    add("--cores", metavar="SHARE", help="the share of the cores' time for all, like 0.8 (default: 1)")

    add = parser.add_argument_group("resources that change").add_argument
    add("--adapt", action="store_true", help="follow the memory and the processor that others leave")
    add("--schedule", metavar="FILE", help="budgets by the clock, from a CSV file")
    add("--step", metavar="BUDGET", action="append", help="TIME, SIZE or TIME,SIZE; SIGUSR1 goes from each to the next")
    add("--strict", action="store_true", help="keep to the memory budget during switches as well")
    add("--log", metavar="FILE", help="append every decision to a file, as a line of JSON")
    return parser
