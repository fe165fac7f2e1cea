"""The built-in data as files, to be looked at, and carried to devices: ``python -m legodnn.builder.data.write``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from legodnn.builder.data import fashion_mnist
from legodnn.builder.data.garments import SIDE, SPLITS
from legodnn.builder.data.scenes import LABELS, Scenes, scenes
from legodnn.shared.console import CommandParser, run_command
from legodnn.shared.errors import UsageError
from legodnn.shared.images import require_pillow, write_image, write_mask
from legodnn.shared.tasks.detection import Boxes

NAME = "python -m legodnn.builder.data.write"

Writer = Callable[[Path, str, int], None]
"""Writes so many examples of a split into a folder that is there and empty."""


def write_images(folder: Path, split: str, count: int) -> None:
    """Fashion-MNIST's images in a sub-folder for each class, as they are: 28 x 28, gray."""
    name, first, last = SPLITS[split]
    if count > last - first:
        raise UsageError(f"{count} images asked for, there are {last - first} in {split}")
    pixels, labels = fashion_mnist.pixels(name, first, first + count)
    for label in fashion_mnist.LABELS:
        (folder / label).mkdir()
    for number, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        write_image(str(folder / fashion_mnist.LABELS[label] / f"{number:05}.png"), SIDE, SIDE, image.tobytes())


def write_masks(folder: Path, split: str, count: int) -> None:
    """Scenes with masks, in ``images`` and ``masks``."""
    made = scenes(split, count)
    _write_scenes(folder, made)
    (folder / "masks").mkdir()
    for number, mask in enumerate(made.masks):
        write_mask(str(folder / "masks" / _file(number)), mask.shape[1], mask.shape[0], mask.numpy().tobytes())


def write_boxes(folder: Path, split: str, count: int) -> None:
    """Scenes with boxes, in ``images`` and COCO's ``annotations.json``."""
    made = scenes(split, count)
    _write_scenes(folder, made)
    height, width = made.images.shape[2:]
    annotations: list[dict[str, Any]] = []
    for number, objects in enumerate(made.objects):
        annotations += _annotations(number, objects, len(annotations))
    content = {
        "images": [
            {"id": i, "file_name": _file(i), "width": width, "height": height} for i in range(len(made.images))
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(LABELS) if i],
    }
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


WRITERS: Mapping[str, Writer] = {
    "image-classification": write_images,
    "semantic-segmentation": write_masks,
    "object-detection": write_boxes,
}
"""What writes the data of an application."""


def _write_scenes(folder: Path, made: Scenes) -> None:
    (folder / "images").mkdir()
    for number, image in enumerate(made.images):
        write_image(str(folder / "images" / _file(number)), image.shape[2], image.shape[1], _rows(image))


def _rows(image: Tensor) -> bytes:
    """The bytes of an image, uint8 (3, height, width), pixel by pixel."""
    return image.permute(1, 2, 0).contiguous().numpy().tobytes()


def _annotations(image: int, objects: Boxes, before: int) -> list[dict[str, Any]]:
    rows = zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True)
    return [
        {
            "id": before + i,
            "image_id": image,
            "category_id": label,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        for i, ((left, top, right, bottom), label) in enumerate(rows)
    ]


def _file(number: int) -> str:
    return f"{number:05}.png"


# ---- command --------------------------------------------------------------------------------------------------------
def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(NAME, lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.count < 1:
        raise UsageError(f"--count {options.count}: give a number of at least 1")
    require_pillow()
    folder = Path(options.folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: there is something already; give the name of a new folder, or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    WRITERS[options.application](folder, options.split, options.count)
    print(f"{folder}: {options.count} examples of {options.split} data for {options.application}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog=NAME, description="Write the built-in data of an application in a format of its field.")
    parser.add_argument("application", choices=list(WRITERS), help=", ".join(WRITERS))
    parser.add_argument("folder", metavar="DIR", help="where to; a new folder, or an empty one")
    held_out = "which data: train, test, or (default) held-out, which no stage of a build sees"
    parser.add_argument("--split", choices=list(SPLITS), default="held-out", help=held_out)
    parser.add_argument("--count", metavar="N", type=int, default=500, help="how many examples (default: 500)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
