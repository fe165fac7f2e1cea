"""The built-in data as files, to be viewed and carried to devices: ``python -m legodnn.builder.zoo.write``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from legodnn.builder.zoo.action import motions
from legodnn.builder.zoo.anomaly import anomalies
from legodnn.builder.zoo.common import fashion_mnist, scenes
from legodnn.builder.zoo.common.garments import SIDE, SPLITS
from legodnn.builder.zoo.pose import poses
from legodnn.shared.console import CommandParser, run_command
from legodnn.shared.errors import UsageError
from legodnn.shared.vision.images import require_pillow, write_image, write_mask

NAME = "python -m legodnn.builder.zoo.write"

KINDS = ("normal", "abnormal")

_VISIBLE = 2
"""COCO's word for a keypoint that can be seen."""

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
    made = scenes.scenes(split, count)
    _write_pictures(folder / "images", made.images)
    (folder / "masks").mkdir()
    for number, mask in enumerate(made.masks):
        write_mask(str(folder / "masks" / _file(number)), mask.shape[1], mask.shape[0], mask.numpy().tobytes())


def write_boxes(folder: Path, split: str, count: int) -> None:
    """Scenes with boxes, in ``images`` and COCO's ``annotations.json``."""
    made = scenes.scenes(split, count)
    annotations = [
        {"image_id": number, "category_id": label, "bbox": [left, top, right - left, bottom - top]}
        for number, objects in enumerate(made.objects)
        for (left, top, right, bottom), label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(scenes.LABELS) if i]
    _write_coco(folder, made.images, annotations, categories)


def write_clips(folder: Path, split: str, count: int) -> None:
    """Clips in a sub-folder for each class, each a folder of frames."""
    made, classes = motions.clips(split, count)
    for number, (frames, label) in enumerate(zip(made, classes.tolist(), strict=True)):
        _write_pictures(folder / motions.LABELS[label] / f"{number:05}", frames)


def write_kinds(folder: Path, split: str, count: int) -> None:
    """Images in ``normal`` and ``abnormal``."""
    made, abnormal = anomalies.images(split, count)
    for kind in KINDS:
        (folder / kind).mkdir()
    for number, (image, kind) in enumerate(zip(made, abnormal.tolist(), strict=True)):
        _write_picture(folder / KINDS[kind] / _file(number), image)


def write_poses(folder: Path, split: str, count: int) -> None:
    """Pictures in ``images``, keypoints in COCO's ``annotations.json``.

    The box of a pose is the whole picture, as networks of the built-in data read it; the size that errors are relative
    to is given beside it.
    """
    made = poses.poses(split, count)
    height, width = made.images.shape[2:]
    annotations = []
    for number, (points, size) in enumerate(zip(made.keypoints, made.sizes.tolist(), strict=True)):
        rows = [[x, y, _VISIBLE] if visible else [0, 0, 0] for x, y, visible in points.tolist()]
        annotations.append(
            {
                "image_id": number,
                "category_id": 1,
                "bbox": [0, 0, width, height],
                "size": size,
                "keypoints": [value for row in rows for value in row],
                "num_keypoints": sum(row[2] > 0 for row in rows),
            }
        )
    joined = [[first + 1, second + 1] for first, second in poses.SKELETON]
    category = {"id": 1, "name": "garment", "keypoints": list(poses.LABELS), "skeleton": joined}
    _write_coco(folder, made.images, annotations, [category])


WRITERS: Mapping[str, Writer] = {
    "image-classification": write_images,
    "semantic-segmentation": write_masks,
    "object-detection": write_boxes,
    "action-recognition": write_clips,
    "anomaly-detection": write_kinds,
    "pose-estimation": write_poses,
}
"""The writer of each application's data."""


def _write_coco(
    folder: Path, images: Tensor, annotations: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> None:
    """Write pictures into ``images`` and their annotations as COCO's ``annotations.json``, with ids and the areas of
    the boxes added."""
    _write_pictures(folder / "images", images)
    height, width = images.shape[2:]
    content = {
        "images": [{"id": i, "file_name": _file(i), "width": width, "height": height} for i in range(len(images))],
        "annotations": [
            {"id": i, **row, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0} for i, row in enumerate(annotations)
        ],
        "categories": categories,
    }
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def _write_pictures(folder: Path, images: Tensor) -> None:
    """Images, uint8 (n, 3, height, width), into a new folder, named by their numbers."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        _write_picture(folder / _file(number), image)


def _write_picture(path: Path, image: Tensor) -> None:
    pixels = image.permute(1, 2, 0).contiguous().numpy().tobytes()
    write_image(str(path), image.shape[2], image.shape[1], pixels)


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
