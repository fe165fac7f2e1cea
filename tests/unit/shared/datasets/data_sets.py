"""Small data sets, written into a test's folder."""

import json

import torch
from PIL import Image

from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.vision.layouts import usual_layout

RED, BLUE = (255, 0, 0), (0, 0, 255)


def spec(*shape, labels=()):
    shape = shape or (1, 3, 8, 8)
    return InputSpec(shape, "float32", usual_layout(shape), None, None, tuple(labels))


def picture(path, size=(8, 8), colour=RED, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def mask(path, rows, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, (len(rows[0]), len(rows)))
    image.putdata([value for row in rows for value in row])
    if mode == "P":
        image.putpalette([i for i in range(256) for _ in range(3)])
    image.save(path)


def coco(folder, annotations, images=None, categories=None, name="annotations.json"):
    """One red image of 10 x 20 with these annotations, unless said otherwise."""
    images = [{"id": 1, "file_name": "a.png", "width": 10, "height": 20}] if images is None else images
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}] if categories is None else categories
    picture(folder / "images" / "a.png", (10, 20))
    rows = [{"id": i, "image_id": 1, "category_id": 7, **row} for i, row in enumerate(annotations)]
    (folder / name).write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return str(folder)


def voc(folder, objects, size=(10, 20), filename="a.png", name="a.xml"):
    picture(folder / "JPEGImages" / "a.png", (10, 20))
    (folder / "Annotations").mkdir(exist_ok=True)
    rows = "".join(
        f"<object><name>{kind}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for kind, box, difficult in objects
    )
    (folder / "Annotations" / name).write_text(
        f"<annotation><filename>{filename}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{rows}</annotation>"
    )
    return str(folder)


def only(dataset):
    """The one example of a data set, loaded."""
    [example] = dataset.examples
    return example.load()


def close(found, expected, within=1e-5):
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), rtol=0, atol=within)
