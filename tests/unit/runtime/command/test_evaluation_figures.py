"""`legodnn-run --evaluate`: the figures of each class, who was taken for whom, two classes and their threshold."""

import json
from dataclasses import replace

import pytest
import torch

from legodnn.runtime.command.evaluation_text import MOST_CLASSES, MOST_CONFUSED, WORST, evaluation_text
from legodnn.runtime.command.main import main
from legodnn.shared.bundle.blobs import BlobStore
from legodnn.shared.bundle.manifest import ORIGINAL, InputSpec, TensorSpec
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.datasets.opening import open_dataset
from legodnn.shared.tasks.classification import IMAGES
from legodnn.shared.tasks.known import TASKS
from tests import bundles
from tests.unit.runtime.commands import memory_by_tables

Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.usefixtures("common_cache")

COUNTS = (9, 15)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """24 pictures of noise in two classes, of which there are 9 and 15."""
    generator, folder = torch.Generator().manual_seed(5), tmp_path_factory.mktemp("photos")
    for name, count in zip("ab", COUNTS, strict=True):
        (folder / name).mkdir()
        for i in range(count):
            pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=generator)
            Image.frombytes("RGB", (16, 16), bytes(pixels.flatten().tolist())).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, photos):
    """A bundle of two classes that calls half the pictures one and half the other; its scores and their labels."""
    maker = bundles.BundleMaker()
    head = bundles.Head()
    head.linear = torch.nn.Linear(8, 2)
    maker.modules["head"] = {ORIGINAL: head.eval()}
    spec = InputSpec(bundles.INPUT, "float32", "NCHW", None, None, ("a", "b"))
    loaded = [example.load() for example in open_dataset("image classification", str(photos), spec).examples]
    margins = torch.stack([maker.answer({}, x.inputs)[0].diff()[0] for x in loaded])
    with torch.no_grad():  # far apart enough for any threshold to tell them from each other
        head.linear.bias[0] += margins.median()
        head.linear.weight *= 3 / margins.std()
        head.linear.bias *= 3 / margins.std()
    manifest = maker.manifest()
    test = replace(manifest.self_test, labels=(), output_specs=(TensorSpec("scores", (6, 2), "float32"),))
    path = tmp_path_factory.mktemp("two") / "two.lgb"
    predictor = replace(manifest.predictor, judged=445)
    write_bundle(path, replace(manifest, self_test=test, input=spec, predictor=predictor), maker.blobs)
    return path, torch.cat([maker.answer({}, x.inputs) for x in loaded]), [int(x.truths[0]) for x in loaded]


def evaluation(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def taken_for(likely, labels, threshold=0.5):
    pairs = [(label, int(p > threshold)) for p, label in zip(likely, labels, strict=True)]
    return [[pairs.count((a, b)) for b in (0, 1)] for a in (0, 1)]


def test_two_classes_have_all_their_figures_with_a_chance_level(two, photos, capsys):
    path, scores, labels = two
    memory_by_tables(path)
    found = evaluation(capsys, path, "--evaluate", photos)
    likely = scores.softmax(1)[:, 1].tolist()
    confusion = taken_for(likely, labels)
    assert found["confusion"] == confusion
    assert all(sum(row) == count for row, count in zip(confusion, COUNTS, strict=True))
    assert min(map(sum, zip(*confusion, strict=True))) > 0
    recalls = [confusion[c][c] / COUNTS[c] for c in (0, 1)]
    precisions = [confusion[c][c] / (confusion[0][c] + confusion[1][c]) for c in (0, 1)]
    ones, zeros = ([p for p, label in zip(likely, labels, strict=True) if label == c] for c in (1, 0))
    pairs = [(a > b) + (a == b) / 2 for a in ones for b in zeros]
    figures = found["figures"]
    assert list(figures) == ["top-1 accuracy", "balanced accuracy", "AUROC", "average precision"]
    assert figures["top-1 accuracy"] == pytest.approx((confusion[0][0] + confusion[1][1]) / sum(COUNTS))
    assert figures["balanced accuracy"] == pytest.approx(sum(recalls) / 2)
    assert figures["AUROC"] == pytest.approx(sum(pairs) / len(pairs))
    assert found["trivial"] == pytest.approx(
        {"top-1 accuracy": 15 / 24, "balanced accuracy": 0.5, "AUROC": 0.5, "average precision": 15 / 24}
    )
    for c, row in enumerate(found["classes"]):
        assert (row["class"], row["label"], row["count"]) == (c, "ab"[c], COUNTS[c])
        assert row["figures"] == pytest.approx({"recall": recalls[c], "precision": precisions[c]})
    assert (found["threshold"], found["not_finite"]) == (None, 0)


def test_a_threshold_decides_what_is_class_one(two, photos, capsys):
    path, scores, labels = two
    memory_by_tables(path)
    likely = scores.softmax(1)[:, 1].tolist()
    usual = evaluation(capsys, path, "--evaluate", photos)
    seen = set()
    for threshold in (0.1, 0.5, 0.9):
        found = evaluation(capsys, path, "--evaluate", photos, "--threshold", threshold)
        assert found["confusion"] == taken_for(likely, labels, threshold)
        assert found["figures"]["AUROC"] == usual["figures"]["AUROC"]
        assert found["threshold"] == threshold
        seen.add(str(found["confusion"]))
    assert len(seen) == 3
    assert main([str(path), "--evaluate", str(photos), "--threshold", "0.9"]) == 0
    text = capsys.readouterr().out
    assert "\nclass 1 where its probability is above 0.9\n" in text
    assert "; predicted 90.00% for a threshold of 0.5 (± " in text


@pytest.mark.parametrize(("metric", "error"), [
    ("top-1 accuracy", "± 1.74 points"), ("balanced accuracy", "± 1.00 points on the builder's 445 examples"),
])  # fmt: skip
def test_predictions_carry_the_error_of_the_examples_or_say_on_which_they_hold(
    two, photos, tmp_path, capsys, metric, error
):
    with BundleReader(two[0]) as reader:
        manifest, blobs = replace(reader.manifest, metric=metric, blobs=()), BlobStore()
        for number in range(len(reader.manifest.blobs)):
            blobs.add(reader.blob(number))
    write_bundle(tmp_path / "named.lgb", manifest, blobs)
    path = memory_by_tables(str(tmp_path / "named.lgb"))
    assert main([path, "--evaluate", str(photos)]) == 0
    text = capsys.readouterr().out
    assert f", {metric} 90.00% ({error})\n" in text
    assert f"; predicted 90.00% ({error}); chance level" in text
    found = evaluation(capsys, path, "--evaluate", photos)
    assert f"± {100 * found['prediction_error']:.2f} points" in error
    assert main([path, "--info"]) == 0
    assert "to within 1.00% on average, on 445 examples" in capsys.readouterr().out
    assert evaluation(capsys, path, "--info")["judged"] == 445


@pytest.mark.parametrize(("threshold", "reason"), [
    ("1.5", "--threshold 1.5: a probability expected, from 0 to 1"),
    ("0", "--threshold 0: with it all would be one class"),
    ("half", "--threshold half: a probability expected"),
])  # fmt: skip
def test_a_threshold_is_a_probability(two, photos, capsys, threshold, reason):
    assert main([str(two[0]), "--evaluate", str(photos), "--threshold", threshold]) == 2
    assert reason in capsys.readouterr().err


def test_a_threshold_without_two_classes_or_an_evaluation_is_refused(path, two, photos, tmp_path, capsys):
    assert main([str(two[0]), "--threshold", "0.3"]) == 2
    assert "--threshold goes with --evaluate" in capsys.readouterr().err
    maker = bundles.BundleMaker()
    write_bundle(tmp_path / "pose.lgb", replace(maker.manifest(), task="pose estimation"), maker.blobs)
    for bundle, of in ((path, "5 classes"), (tmp_path / "pose.lgb", "pose estimation")):
        assert main([str(bundle), "--evaluate", str(photos), "--threshold", "0.3"]) == 2
        output, errors = capsys.readouterr()
        assert f"--threshold is for two classes, this network is for {of}" in errors
        assert output == ""


# ---- text -----------------------------------------------------------------------------------------------------------
def results(classes=(), **changes):
    rows = [
        {"class": i, "label": label, "count": count, "figures": {"recall": recall, "precision": precision}}
        for i, (label, count, recall, precision) in enumerate(classes)
    ]
    made = {
        "data": "photos", "task": "image classification", "examples": 12, "figures": {"top-1 accuracy": 0.75},
        "trivial": {"top-1 accuracy": 0.5}, "classes": rows, "confusion": None, "not_finite": 0, "threshold": None,
        "predicted": {"top-1 accuracy": 0.875}, "prediction_error": 0.01, "median_seconds": 0.001, "skipped": [],
        "remarks": [],
    }  # fmt: skip
    return {**made, **changes}


def lines(found, task=IMAGES):
    return evaluation_text(found, task, "± 1.00 points").splitlines()


def test_every_class_has_a_line():
    classes = [("cat", 4, 0.75, 1.0), ("1", 8, 0.875, 0.25), ("never", 0, None, None), ("bird", 0, None, 0.0)]
    found = lines(results(classes, confusion=[[3, 1, 0, 0], [0, 7, 0, 1], [0] * 4, [0] * 4]))
    assert found[:2] == [
        "12 examples of photos, median 1 ms per inference",
        "top-1 accuracy: 75.00%; predicted 87.50% (± 1.00 points); chance level 50.00%",
    ]
    assert [line.split() for line in found[2:6]] == [
        ["class", "examples", "recall", "precision"],
        ["cat", "4", "75.00%", "100.00%"],
        ["class", "1", "8", "87.50%", "25.00%"],
        ["bird", "0", "-", "0.00%"],
    ]
    assert [line.split() for line in found[6:]] == [
        ["taken", "for", "0", "1", "2", "3"], ["0", "cat", "3", "1", "0", "0"], ["1", "0", "7", "0", "1"],
        ["2", "never", "0", "0", "0", "0"], ["3", "bird", "0", "0", "0", "0"],
    ]  # fmt: skip


def test_of_many_classes_the_worst_are_shown():
    for count in (MOST_CLASSES, MOST_CLASSES + 1):
        classes = [(f"c{i}", 5, (i * 7 % count) / 100, 1.0) for i in range(count)]
        shown = [line.split() for line in lines(results(classes))[2:]]
        if count == MOST_CLASSES:
            assert [row[0] for row in shown] == ["class", *(f"c{i}" for i in range(count))]
        else:
            assert " ".join(shown[0]) == f"the {WORST} of {count} classes with the lowest recall (--json has all):"
            worst = sorted(classes, key=lambda row: row[2])[:WORST]
            assert [row[0] for row in shown[2:]] == [row[0] for row in worst]


@pytest.mark.parametrize("size", [MOST_CONFUSED, MOST_CONFUSED + 1])
def test_a_large_confusion_matrix_is_left_to_json(size):
    classes = [(str(i), 1, 1.0, 1.0) for i in range(size)]
    found = lines(results(classes, confusion=torch.eye(size).int().tolist()))
    assert any(line.startswith("taken for") for line in found) == (size == MOST_CONFUSED)


def test_answers_that_are_no_numbers_are_counted():
    assert "answers that are no numbers, and count as wrong: 3" in lines(results(not_finite=3))
    assert not any("no numbers" in line for line in lines(results()))


def test_keypoints_are_called_that():
    found = results()
    figures = {"PCK@0.1": 0.5, "mean error": None}
    found["keypoints"] = [{"keypoint": 0, "label": "neck", "count": 7, "figures": figures}]
    assert [line.split() for line in lines(found, TASKS["pose estimation"])[2:]] == [
        ["keypoint", "visible", "PCK@0.1", "mean", "error"], ["neck", "7", "50.00%", "-"],
    ]  # fmt: skip
