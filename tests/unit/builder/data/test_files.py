"""Data sets named by their paths, and the built-in data written as files."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
import torch.nn as nn

from legodnn.builder.data.files import FilesLoader, loader
from legodnn.builder.managers import (
    ActionManager,
    AnomalyManager,
    CommonModelManager,
    SegmentationManager,
    TaskManager,
)
from legodnn.builder.pipeline import build
from legodnn.builder.recipe.data import with_labels
from legodnn.builder.recipe.inputs import data_inputs
from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.recipe.resolve import build_loaders, build_manager
from legodnn.builder.recipe.schema import DATA_FILES, Call
from legodnn.builder.workdir.stage import Stage
from legodnn.builder.zoo import write
from legodnn.builder.zoo.action import motions
from legodnn.builder.zoo.anomaly import anomalies
from legodnn.builder.zoo.common import fashion_mnist, scenes
from legodnn.builder.zoo.pose import poses
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.errors import DataError, RecipeError
from legodnn.shared.tasks.detection import Detection
from legodnn.shared.tasks.pose import Pose
from legodnn.shared.vision.layouts import usual_layout

Image = pytest.importorskip("PIL.Image")

from tests.unit.shared.datasets.data_sets import picture, spec  # noqa: E402  (needs Pillow)

IMAGES = "image classification"


@pytest.fixture
def photos(folder):
    """Four classes of five images in a folder beside the recipe, the first of them broken."""
    for number, name in enumerate(("ant", "bee", "cow", "dog")):
        for i in range(5):
            picture(folder.path / "photos" / name / f"{i}.png", (6 + i, 8), (60 * number, 30 * i, 90))
    (folder.path / "photos" / "ant" / "0.png").write_bytes(b"no image")
    return folder.path / "photos"


# ---- recipes ------------------------------------------------------------------------------------------------------
def test_a_path_is_looked_up_beside_the_recipe_and_where_it_is_typed(folder, photos, tmp_path, monkeypatch):
    path = folder.write("a.toml", folder.recipe.read_text().replace('"parts:batches"', '"photos"'))
    expected = Call(DATA_FILES, (), {"path": str(photos)})
    assert load_recipe(str(path)).data.train == load_recipe(str(path)).data.test == expected
    monkeypatch.chdir(photos)
    typed = load_recipe(str(path), ["data.test=ant", "data.train.kwargs.batch=4"])
    assert typed.data.test == Call(DATA_FILES, (), {"path": str(photos / "ant")})
    assert typed.data.train == Call(DATA_FILES, (), {"path": str(photos), "batch": 4})
    with pytest.raises(RecipeError, match=r"or the path of data that is there, not .*nowhere"):
        load_recipe(str(path), ["data.train=nowhere"])


def test_labels_come_from_the_data_where_the_recipe_has_none(folder, photos):
    recipe = load_recipe(str(folder.recipe), [f"data.train={photos}"])
    assert with_labels(recipe, IMAGES).bundle.labels == ("ant", "bee", "cow", "dog")
    own = load_recipe(str(folder.recipe), [f"data.train={photos}", 'bundle.labels=["a"]'])
    assert with_labels(own, IMAGES) is own
    code = load_recipe(str(folder.recipe))
    assert with_labels(code, IMAGES) is code


def test_a_path_becomes_checked_loaders(folder, photos, caplog):
    paths = [f"data.train={photos}", f"data.test={photos}", "data.train.kwargs.batch=7"]
    loaders = build_loaders(with_labels(load_recipe(str(folder.recipe), paths), IMAGES), IMAGES)
    train, test = loaders.train, loaders.test
    images, labels = next(iter(test))
    assert images.shape == (19, 3, 8, 8)
    assert labels.tolist() == [0] * 4 + [1] * 5 + [2] * 5 + [3] * 5
    assert len(train) == 3
    assert sorted(torch.cat([labels for _, labels in train]).tolist()) == labels.tolist()
    assert "data.test: skipped ant/0.png: not readable as an image" in caplog.text


@pytest.mark.parametrize(("overrides", "reason"), [
    (['bundle.labels=["ant", "bee"]'], "class 'cow' is none of the network's labels"), ([], "has no labels"),
    (["data.train.kwargs.bath=3"], "unexpected keyword argument 'bath'"),
    (["manager=legodnn.builder.managers:SegmentationManager"], "no masks found"),
    (["manager=mine:Manager"], "no data sets are known for 'vision'"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused_in_one_line(folder, photos, overrides, reason):
    folder.write("mine.py", "from legodnn.builder.managers import CommonModelManager\n"
        "class Manager(CommonModelManager):\n    def __init__(self):\n        self.task = 'vision'\n")  # fmt: skip
    paths = [f"data.train={photos}", f"data.test={photos}"]
    recipe = load_recipe(str(folder.recipe), paths + overrides)
    with pytest.raises(DataError, match=reason) as refusal:
        build_loaders(recipe, build_manager(recipe).task)
    assert "\n" not in str(refusal.value)


def described(folder, call):
    return data_inputs("data.train", call, load_recipe(str(folder.recipe)))


def test_results_of_other_data_are_not_taken_for_those_of_these(folder, photos):
    call = Call(DATA_FILES, (), {"path": str(photos)})
    before = described(folder, call)
    assert described(folder, call) == before
    edited = photos / "bee" / "1.png"
    edited.write_bytes(bytes(reversed(edited.read_bytes())))
    after = described(folder, call)
    assert after != before
    (photos / "bee" / "0.png").unlink()
    assert described(folder, call) not in (before, after)


def test_a_bundle_is_built_from_paths_alone_and_carries_the_labels(folder, photos, tmp_path):
    folder.write("mine.py", "from legodnn.builder.managers import CommonModelManager\n"
        "made = []\ndef make():\n    made.append(CommonModelManager())\n    return made[-1]\n")  # fmt: skip
    paths = [f"data.train={photos}", f"data.test={photos}"]
    build(load_recipe(str(folder.recipe), [*paths, "manager=mine:make"]), tmp_path / "x.lgb", tmp_path / "work")
    assert len(sys.modules["mine"].made) == 1
    with BundleReader(tmp_path / "x.lgb") as reader:
        assert reader.manifest.input.labels == ("ant", "bee", "cow", "dog")
        assert reader.manifest.self_test.labels[:5] == (0, 0, 0, 0, 1)


def test_results_of_a_list_are_those_of_its_data_set(folder, tmp_path):
    picture(tmp_path / "JPEGImages" / "a.png")
    split = tmp_path / "ImageSets" / "train.txt"
    split.parent.mkdir()
    split.write_text("a")
    call = Call(DATA_FILES, (), {"path": str(split)})
    before = described(folder, call)
    picture(tmp_path / "JPEGImages" / "a.png", (9, 9))
    assert described(folder, call) != before


def test_results_of_a_json_file_are_those_of_the_images_it_lists(folder, tmp_path):
    images = [{"id": 0, "file_name": "a.png"}]
    annotations = tmp_path / "annotations" / "train.json"
    annotations.parent.mkdir()
    annotations.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    picture(tmp_path / "images" / "a.png")
    call = Call(DATA_FILES, (), {"path": str(annotations)})
    before = described(folder, call)
    assert described(folder, call) == before
    picture(tmp_path / "images" / "a.png", (9, 9))
    assert described(folder, call) != before


def test_files_that_were_only_touched_give_the_same_bytes(folder, photos, tmp_path):
    recipe = load_recipe(str(folder.recipe), [f"data.train={photos}", f"data.test={photos}"])
    work = tmp_path / "work"

    def built(name):
        build(recipe, tmp_path / name, work)
        return (tmp_path / name).read_bytes(), Stage(work / "trained" / "sparsity=0.5", {}).finished_by

    first, trained = built("a.lgb")
    assert built("b.lgb") == (first, trained)
    os.utime(photos / "bee" / "1.png")
    again, trained_again = built("c.lgb")
    assert again == first
    assert trained_again.ended > trained.ended


# ---- loaders ------------------------------------------------------------------------------------------------------
def loader_of(path, batch, shuffled):
    labels = ("ant", "bee", "cow", "dog")
    return FilesLoader(open_dataset(IMAGES, str(path), spec(labels=labels)), batch, shuffled, "data.train")


def order(batches):
    return torch.cat([images for images, _ in batches]).flatten(1).double().sum(1).tolist()


def test_the_order_comes_from_the_seed(photos):
    shuffled = loader_of(photos, 4, True)
    torch.manual_seed(3)
    first, second = order(shuffled), order(shuffled)
    torch.manual_seed(3)
    assert order(shuffled) == first
    assert second != first
    assert sorted(second) == sorted(first)
    assert order(loader_of(photos, 4, False)) == order(loader_of(photos, 7, False))


def test_no_batch_is_left_with_a_single_example(photos):
    """Batch normalisation cannot be trained on one value a channel."""
    batches = loader_of(photos, 19, False)
    assert [len(labels) for _, labels in batches] == [9, 10]  # one of the first ten is broken
    assert len(batches) == 2


def test_each_broken_example_is_named_once(photos, caplog):
    batches = loader_of(photos, 8, True)
    list(batches)
    list(batches)
    assert caplog.text.count("ant/0.png") == 1
    caplog.clear()
    for i in range(5):
        for name in ("ant", "bee"):
            (photos / name / f"{i}.png").write_bytes(b"no image")
    list(batches)
    list(batches)
    errors = caplog.messages
    assert len(errors) == 5
    assert errors[-1] == "data.train: and 5 more that are not named"


def test_a_batch_holds_what_memory_may_hold(photos):
    from legodnn.builder.data.files import Purpose

    def batches(side):
        labels = ("ant", "bee", "cow", "dog")
        return len(loader(Purpose("data.test", IMAGES, spec(1, 3, side, side, labels=labels), False), str(photos)))

    assert batches(8) == 1
    assert batches(1024) == 10  # two at a time
    assert batches(4096) == 20


# ---- writing ------------------------------------------------------------------------------------------------------
@pytest.fixture
def written(fashion, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FASHION_MNIST", str(fashion))

    def do(application, count):
        assert write.main([application, str(tmp_path / "data"), "--count", str(count)]) == 0
        assert f"{count} examples of held-out data" in capsys.readouterr().out
        return str(tmp_path / "data")

    return do


def from_files(manager, path, shape, mean, std, labels):
    layout = usual_layout(shape)
    data = open_dataset(manager.task, path, InputSpec(shape, "float32", layout, (mean,) * 3, (std,) * 3, tuple(labels)))
    return FilesLoader(data, 16, False, "data")


def by_number(files):
    """What a data set in folders by classes holds, in the order of its files' names."""
    loaded = sorted(files.dataset.examples, key=lambda example: example.name.split("/")[-1])
    return joined([(found.inputs, *found.truths) for found in (example.load() for example in loaded)])


def joined(batches):
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def test_written_images_give_the_figures_of_those_in_memory(written):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))
    manager, mean, std = CommonModelManager(), fashion_mnist.MEAN, fashion_mnist.STD
    files = from_files(manager, written("image-classification", 200), (1, 3, 32, 32), mean, std, fashion_mnist.LABELS)
    memory = fashion_mnist.test_loader(5000, 5200, 50)
    expected = manager.get_model_figures(model, memory, "cpu")
    assert manager.get_model_figures(model, files, "cpu") == pytest.approx(expected, abs=1e-12)
    assert 0 < expected["top-1 accuracy"] < expected["top-5 accuracy"] < 1


def test_written_masks_give_the_figures_of_those_in_memory(written):
    torch.manual_seed(0)
    model, manager = nn.Conv2d(3, 6, 5, padding=2), SegmentationManager()
    files = from_files(manager, written("semantic-segmentation", 24), (1, 3, 96, 96), 0.45, 0.25, scenes.LABELS)
    memory = list(scenes.masks("held-out", 24))
    (images, masks), (read, numbers) = joined(memory), joined(files)
    assert torch.equal(masks, numbers)
    assert torch.allclose(images, read, rtol=0, atol=1e-6)
    expected = manager.get_model_figures(model, memory, "cpu")
    assert manager.get_model_figures(model, files, "cpu") == pytest.approx(expected, abs=1e-4)
    assert manager.get_model_figures(nn.Conv2d(3, 6, 1), files, "cpu") != pytest.approx(expected, abs=1e-4)


class Guesses(nn.Module):
    """Boxes about what is bright, and labels that depend on the picture: wrong, but the same for the same picture."""

    def forward(self, x):
        found = torch.arange(3) + 1
        bright = x.mean(1) > 0.4
        rows = []
        for image in bright:
            ys, xs = image.nonzero().unbind(1)
            rows.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 96, 96])
        boxes = torch.tensor(rows).float().unsqueeze(1).expand(-1, 3, 4)
        return boxes, torch.tensor([0.9, 0.8, 0.7]).expand(len(x), 3), found.expand(len(x), 3)


def test_written_boxes_give_the_figures_of_those_in_memory(written):
    manager = TaskManager(Detection())
    files = from_files(manager, written("object-detection", 60), (1, 3, 96, 96), 0.45, 0.25, scenes.LABELS)
    memory = list(scenes.boxes("held-out", 60))
    expected = manager.get_model_figures(Guesses(), memory, "cpu")
    assert manager.get_model_figures(Guesses(), files, "cpu") == pytest.approx(expected, abs=1e-9)
    assert expected["mAP@.5"] > 0
    pairs = zip((b for _, rows in memory for b in rows), (b for _, rows in files for b in rows), strict=True)
    assert all(torch.equal(a.boxes, b.boxes) and torch.equal(a.labels, b.labels) for a, b in pairs)


def test_written_clips_are_those_in_memory(written):
    folder = written("action-recognition", 20)
    files = from_files(ActionManager(), folder, (1, 8, 3, 48, 48), 0.45, 0.25, motions.LABELS)
    (made, classes), (read, labels) = joined(motions.loader("held-out", 20)), by_number(files)
    assert torch.equal(classes, labels)
    assert made.shape == read.shape == (20, 8, 3, 48, 48)
    assert torch.allclose(made, read, rtol=0, atol=1e-6)
    assert not files.dataset.skipped


def test_written_anomalies_are_those_in_memory(written):
    files = from_files(AnomalyManager(), written("anomaly-detection", 30), (1, 3, 32, 32), 0.5, 0.5, ())
    (images, abnormal), (read, kinds) = joined(anomalies.loader("held-out", 30)), by_number(files)
    assert torch.equal(abnormal, kinds)
    assert torch.allclose(images, read, rtol=0, atol=1e-6)


def test_written_poses_are_those_in_memory_and_measured_alike(written):
    manager = TaskManager(Pose())
    path = written("pose-estimation", 60)
    files = from_files(manager, path, (1, 3, 64, 64), 0.45, 0.25, poses.LABELS)
    memory = list(poses.loader("held-out", 60))
    images, keypoints, sizes = joined(memory)
    seen = keypoints[..., 2] > 0
    kept = seen.any(1)
    read, found, measures = joined(files)
    assert len(files.dataset.skipped) == int((~kept).sum())
    assert torch.equal(found[..., 2] > 0, seen[kept])
    assert 0.5 < seen.float().mean() < 1
    assert torch.equal(found[..., :2][seen[kept]], keypoints[kept][..., :2][seen[kept]])
    assert torch.equal(measures, sizes[kept])
    assert torch.allclose(images[kept], read, rtol=0, atol=1e-6)
    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(192, 15), nn.Unflatten(1, (5, 3)))
    model[2].bias.data.fill_(32)
    expected = manager.get_model_figures(model, memory, "cpu")
    assert manager.get_model_figures(model, files, "cpu") == pytest.approx(expected, abs=1e-6)
    [category] = json.loads((Path(path) / "annotations.json").read_text())["categories"]
    names = [[category["keypoints"][i - 1] for i in pair] for pair in category["skeleton"]]
    assert names == [[poses.LABELS[i] for i in pair] for pair in poses.SKELETON]


@pytest.mark.parametrize("application", list(write.WRITERS))
def test_what_is_written_is_the_same_every_time(application, written, tmp_path):
    def content(path):
        return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}

    written(application, 3)
    (tmp_path / "data").rename(tmp_path / "before")
    written(application, 3)
    assert content(tmp_path / "data") == content(tmp_path / "before")


@pytest.mark.parametrize(("arguments", "reason"), [
    (["object-detection", "{used}"], "there is something already"), (["poems", "{new}"], "invalid choice"),
    (["object-detection", "{new}", "--count", "0"], "at least 1"),
    (["image-classification", "{new}", "--count", "5001"], "5001 images asked for, there are 5000 in held-out"),
    (["image-classification", "{new}", "--split", "train"], "no such file"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused_in_one_line(fashion, tmp_path, monkeypatch, capsys, arguments, reason):
    monkeypatch.setenv("FASHION_MNIST", str(fashion))
    picture(tmp_path / "used" / "x.png")
    places = {"used": tmp_path / "used", "new": tmp_path / "new"}
    assert write.main([argument.format(**places) for argument in arguments]) == 2
    errors = capsys.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1
