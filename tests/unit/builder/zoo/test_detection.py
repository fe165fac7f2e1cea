"""Detection: YOLOv3's choice of boxes, the manager, and how teachers learn."""

import io
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn
import torchvision
from torchvision.ops import MultiScaleRoIAlign

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.detectors.boxes import by_anchor
from legodnn.builder.graph.run import run_segment
from legodnn.builder.managers import DetectionManager
from legodnn.builder.teach import detection
from legodnn.builder.teach.settings import Settings
from legodnn.builder.zoo.detection import faster_rcnn, yolov3
from legodnn.builder.zoo.detection.yolov3_boxes import LONGEST, STRIDES, boxes_of, grid_of
from legodnn.builder.zoo.detection.yolov3_loss import assigned, yolo_loss
from legodnn.shared.errors import DataError, ModelError
from legodnn.shared.tasks.detection import Boxes
from tests.detection import DETECTORS, INPUT, SIZE, detector, loader, rectangles


# ---- YOLOv3's choice ------------------------------------------------------------------------------------------------
def overlap(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def found_one_by_one(maps, anchors, strides, classes, height, width):
    """What is found in one image, one cell, anchor and class after the other."""
    candidates = []
    for raw, pairs, stride in zip(maps, anchors, strides, strict=True):
        level = []
        predictions = raw.reshape(len(pairs), 5 + classes, *raw.shape[1:]).double()
        for row in range(raw.shape[1]):
            for column in range(raw.shape[2]):
                for (share_wide, share_high), values in zip(pairs, predictions[:, :, row, column], strict=True):
                    x, y = ((values[:2].sigmoid() + torch.tensor([column, row])) * stride).tolist()
                    wide, high = (values[2:4].exp() * torch.tensor([share_wide * width, share_high * height])).tolist()
                    box = [max(x - wide / 2, 0), max(y - high / 2, 0), min(x + wide / 2, width)]
                    box.append(min(y + high / 2, height))
                    sure = values[4].sigmoid()
                    scores = [(float(sure * values[5 + k].sigmoid()), k + 1, box) for k in range(classes)]
                    level += [entry for entry in scores if entry[0] > 0.01]
        candidates += sorted(level, key=lambda entry: -entry[0])[:100]
    stay = []
    for score, label, box in sorted(candidates, key=lambda entry: -entry[0]):
        if all(label != other or overlap(box, theirs) <= 0.45 for _, other, theirs in stay):
            stay.append((score, label, box))
    return stay


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 64)])
def test_yolov3_finds_what_one_finds_prediction_by_prediction(height, width):
    torch.manual_seed(1)
    network = yolov3.yolov3(0.0625, 3, detections=40).eval()
    maps = [torch.randn(2, 24, height // stride, width // stride) * 1.5 for stride in STRIDES]
    boxes, scores, labels = network.detecting(height, width).best(maps)
    assert (boxes.shape, scores.shape, labels.dtype) == ((2, 40, 4), (2, 40), torch.int64)
    for i in range(2):
        expected = found_one_by_one([m[i] for m in maps], network.anchors, STRIDES, 3, height, width)[:40]
        assert len(expected) > 10
        assert labels[i].tolist() == [label for _, label, _ in expected] + [0] * (40 - len(expected))
        there = labels[i] > 0
        torch.testing.assert_close(scores[i][there], torch.tensor([score for score, _, _ in expected]))
        wanted = torch.tensor([box for _, _, box in expected], dtype=torch.float32)
        torch.testing.assert_close(boxes[i][there], wanted, rtol=1e-4, atol=1e-3)
        assert not boxes[i][~there].any()
        assert not scores[i][~there].any()


def test_the_choice_scripts_saves_and_loads_without_torchvision():
    best = yolov3.yolov3(0.0625, 2).detecting(64, 64).best
    maps = [torch.randn(1, 21, 64 // stride, 64 // stride) for stride in STRIDES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = io.BytesIO()
        torch.jit.save(torch.jit.script(best), stream)
        loaded = torch.jit.load(io.BytesIO(stream.getvalue()))
    assert "torchvision" not in str(loaded.inlined_graph)
    for _ in range(3):  # the compiler rewrites the program in its first runs
        torch.testing.assert_close(loaded(maps), best(maps))


def test_anchors_grow_with_the_image():
    network = yolov3.yolov3(0.0625, 2)
    small, large = (grid_of(network.anchors, side, side).sides for side in (64, 416))
    assert small[0].tolist() == pytest.approx([116 * 64 / 416, 90 * 64 / 416])
    assert large[-1].tolist() == [33, 23]


@pytest.mark.parametrize("anchors", [[], [[0.1, 0.2]] * 4])
def test_anchors_that_cannot_be_shared_out_are_refused(anchors):
    with pytest.raises(ValueError, match="multiple of three"):
        yolov3.yolov3(anchors=anchors)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch compiles choices on a GPU alone")
def test_a_choice_runs_on_a_gpu_again_and_again():
    class Chosen(nn.Module):
        def __init__(self):
            super().__init__()
            self.best = torch.jit.script(yolov3.yolov3(0.0625, 5).detecting(96, 96).best)

        def forward(self, *maps):
            return self.best(list(maps))

    segment = SimpleNamespace(inputs=("coarse", "middle", "fine"), outputs=("boxes", "scores", "labels"))
    chosen = Chosen().eval().cuda()
    for _ in range(6):
        maps = [torch.randn(4, 30, side, side) for side in (3, 6, 12)]
        values = dict(zip(segment.inputs, [level.cuda() for level in maps], strict=True))
        run_segment(segment, chosen, values)
        assert values["boxes"].isfinite().all()


# ---- the manager --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", DETECTORS)
def test_the_manager_judges_every_kind_of_detector(name):
    manager = DetectionManager()
    network = manager.network_to_cut(detector(name).train(), INPUT)
    assert not network.training
    with torch.no_grad():
        found = manager.forward_to_gen_mid_data(network, rectangles(2), "cpu")
    assert {key: tuple(value.shape) for key, value in found.items()} == {
        "boxes": (2, 6, 4),
        "scores": (2, 6),
        "labels": (2, 6),
    }
    figures = manager.get_model_figures(network, loader(), "cpu")
    assert list(figures) == ["mAP@.5", "mAP@[.5:.95]"]
    assert manager.get_model_acc(network, loader(), "cpu") == figures["mAP@.5"]


def test_a_network_that_knows_the_answer_has_a_precision_of_one():
    images, objects = rectangles(4)

    class Knows(nn.Module):
        def forward(self, x):
            labels = torch.stack([found.labels for found in objects])
            return torch.stack([found.boxes for found in objects]), torch.ones(labels.shape), labels

    assert DetectionManager().get_model_acc(Knows(), [(images, objects)], "cpu") == pytest.approx(1.0)


# ---- learning -----------------------------------------------------------------------------------------------------
def trained(name, folder, epochs=1, data=None, rate=0.003):
    model = detector(name)
    data = loader() if data is None else data
    settings = Settings(epochs, rate, torch.device("cpu"), 0, Path(folder) / "partial.pt")
    detection.train(model, CheckedLoader(data, INPUT, "data.train"), settings)
    settings.checkpoint.unlink()
    return model


@pytest.mark.parametrize("name", DETECTORS)
def test_training_lowers_the_loss(name, tmp_path, monkeypatch):
    losses = []
    fit = detection.fit

    def noted(model, loader, loss, settings):
        def watched(network, batch):
            value = loss(network, batch)
            losses.append(float(value.detach()))
            return value

        fit(model, loader, watched, settings)

    monkeypatch.setattr(detection, "fit", noted)
    model = trained(name, tmp_path, epochs=20, data=loader(1))
    assert not model.training
    assert sum(losses[-4:]) < 0.75 * sum(losses[:4])


@pytest.mark.parametrize("name", DETECTORS)
def test_training_is_the_same_every_time(name, tmp_path):
    first, second = (trained(name, tmp_path).state_dict() for _ in range(2))
    assert any(not torch.equal(value, detector(name).state_dict()[key]) for key, value in first.items())
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_detector_keeps_its_own_preparation(tmp_path):
    assert trained("ssdlite", tmp_path).transform.fixed_size == (SIZE, SIZE)
    assert isinstance(trained("faster_rcnn", tmp_path).roi_heads.box_roi_pool, MultiScaleRoIAlign)


def test_regions_are_looked_into_as_torchvision_does_while_a_detector_learns():
    model = detector("faster_rcnn")
    theirs = model.roi_heads.box_roi_pool
    maps = {name: torch.randn(3, 8, SIZE >> i, SIZE >> i) for i, name in enumerate(theirs.featmap_names, 2)}
    corners = torch.rand(40, 2) * SIZE / 2
    boxes = torch.cat([corners, corners + torch.rand(40, 2) * SIZE / 2], 1)
    results = []
    with detection._prepared(model, torch.device("cpu")):
        for pool in (theirs, model.roi_heads.box_roi_pool):
            leaves = {name: level.clone().requires_grad_() for name, level in maps.items()}
            regions = pool(leaves, [boxes[:25], boxes[:0], boxes[25:]], [(SIZE, SIZE)] * 3)
            regions.square().sum().backward()
            results.append([regions, *(level.grad for level in leaves.values() if level.grad is not None)])
    assert pool is not theirs
    # Regions as small as these are all looked into on the finest map, whose gradient comes first.
    torch.testing.assert_close(results[1][:2], results[0][:2])


def test_boxes_are_mirrored_with_their_images(monkeypatch):
    images, objects = rectangles(3)
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.zeros(*shape))
    mirrored, moved = detection._mirrored_or_not((images, objects), 2, torch.device("cpu"))
    for image, found in zip(mirrored, moved, strict=True):
        for (left, top, right, bottom), label in zip(found.boxes.long(), found.labels, strict=True):
            inside = image[:, top:bottom, left:right].mean()
            assert float(inside) == pytest.approx(2.0 if label == 1 else -2.0, abs=0.2)


@pytest.mark.parametrize("name", ["faster_rcnn", "ssdlite", "yolov3"])
def test_crowds_flat_boxes_and_images_without_objects_teach_nothing(name, tmp_path):
    images, objects = rectangles(2)
    nothing = Boxes.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    odd = Boxes(
        torch.tensor([[0.0, 0, 60, 60], [5, 5, 5, 20]]), torch.tensor([1, 2]), torch.tensor([True, False])
    )
    same = [
        trained(name, tmp_path, data=[(images, [objects[0], second])]).state_dict() for second in (nothing, odd)
    ]
    assert all(torch.equal(value, same[1][key]) and value.isfinite().all() for key, value in same[0].items())


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("label", [0, 3])
def test_labels_without_a_class_are_refused(name, label, tmp_path):
    images, objects = rectangles(1)
    wrong = Boxes.of(objects[0].boxes, torch.tensor([1, label]))
    with pytest.raises(DataError, match=f"label {label}, but the network has classes 1 to 2"):
        trained(name, tmp_path, data=[(images, [wrong])])


def test_other_networks_are_refused(tmp_path):
    settings = Settings(1, 0.1, torch.device("cpu"), 0, tmp_path / "partial.pt")
    with pytest.raises(ModelError, match="Linear has no detection_loss"):
        detection.train(nn.Linear(1, 1), CheckedLoader(loader(), INPUT, "data.train"), settings)


def test_an_object_belongs_to_the_anchor_most_like_it_in_the_cell_of_its_centre():
    network = yolov3.yolov3(0.0625, 2)
    grid = grid_of(network.anchors, 416, 416)
    box = torch.tensor([[100.0, 200, 100 + 62, 200 + 45]])  # the very anchor of the middle map's second
    theirs = assigned([Boxes.of(box[:0], torch.tensor([])), Boxes.of(box, torch.tensor([2]))], grid)
    coarse = 13 * 13 * 3
    assert theirs.prediction.tolist() == [coarse + ((222 // 16) * 26 + 131 // 16) * 3 + 1]
    assert (theirs.image.tolist(), theirs.classes.tolist()) == ([1], [1])


def perfect_maps(objects, grid, classes):
    """Predictions that are right about everything, and sure of it."""
    theirs = assigned(objects, grid)
    rows = torch.zeros(len(objects), len(grid.sides), 5 + classes)
    rows[..., 4:] = -20.0
    corners, strides, sides = (part[theirs.prediction] for part in grid)
    within = ((theirs.boxes[:, :2] + theirs.boxes[:, 2:]) / 2 - corners) / strides
    rows[theirs.image, theirs.prediction, :2] = within.logit(1e-6)
    rows[theirs.image, theirs.prediction, 2:4] = ((theirs.boxes[:, 2:] - theirs.boxes[:, :2]) / sides).log()
    rows[theirs.image, theirs.prediction, 4] = 20.0
    rows[theirs.image, theirs.prediction, 4 + theirs.classes + 1] = 20.0
    return rows, theirs


def as_maps(rows, network):
    start, maps = 0, []
    for stride, anchors in zip(STRIDES, network.anchors, strict=True):
        side = SIZE // stride
        level = rows[:, start : start + side * side * len(anchors)]
        start += level.shape[1]
        maps.append(level.reshape(len(rows), side, side, -1).permute(0, 3, 1, 2))
    return maps


def test_the_loss_is_least_where_yolov3_finds_exactly_what_is_there():
    network = yolov3.yolov3(0.0625, 2, detections=6)
    grid = grid_of(network.anchors, SIZE, SIZE)
    _, objects = rectangles(3)
    rows, theirs = perfect_maps(objects, grid, 2)
    maps = as_maps(rows, network)
    assert torch.equal(torch.cat([by_anchor(level, 7) for level in maps], 1), rows)
    torch.testing.assert_close(boxes_of(rows, *grid, LONGEST)[theirs.image, theirs.prediction], theirs.boxes)
    boxes, _, labels = network.detecting(SIZE, SIZE).best(maps)
    for i, found in enumerate(objects):
        order = boxes[i, :2, 0].argsort()
        torch.testing.assert_close(boxes[i][order], found.boxes[found.boxes[:, 0].argsort()], rtol=1e-4, atol=1e-3)
        assert sorted(labels[i].tolist()) == [0] * 4 + sorted(found.labels.tolist())
    least = float(yolo_loss(maps, objects, grid, 2))
    for column in range(7):
        worse = rows.clone()
        row = worse[theirs.image[0], theirs.prediction[0]]
        row[column] = row[column] + 1.0 if column < 4 else -row[column]
        assert float(yolo_loss(as_maps(worse, network), objects, grid, 2)) > least + 0.01


def test_a_prediction_that_overlaps_an_object_well_is_not_discouraged():
    network = yolov3.yolov3(0.0625, 2)
    grid = grid_of(network.anchors, SIZE, SIZE)
    _, objects = rectangles(1)
    rows, theirs = perfect_maps(objects, grid, 2)
    own = int(theirs.prediction[0])
    same_cell = (grid.corners == grid.corners[own]).all(1) & (grid.strides == grid.strides[own]).all(1)
    neighbour = next(i for i in same_cell.nonzero().flatten().tolist() if i not in theirs.prediction)
    corners, strides, sides = (part[neighbour] for part in grid)
    box = theirs.boxes[0]
    rows[0, neighbour, :2] = (((box[:2] + box[2:]) / 2 - corners) / strides).logit(1e-6)
    rows[0, neighbour, 2:4] = ((box[2:] - box[:2]) / sides).log()
    before = float(yolo_loss(as_maps(rows, network), objects, grid, 2))
    rows[0, neighbour, 4] = 20.0
    assert float(yolo_loss(as_maps(rows, network), objects, grid, 2)) == before
    rows[0, neighbour, 2:4] -= 3.0
    assert float(yolo_loss(as_maps(rows, network), objects, grid, 2)) > before + 5


# ---- the zoo ------------------------------------------------------------------------------------------------------
def test_resnet_50_stands_below_the_same_pyramid_and_proposals_are_few():
    model = faster_rcnn.faster_rcnn_resnet50_fpn(16, 4, 96, 24, 5)
    assert model.backbone.body.layer4[-1].conv3.weight.shape[:2] == (512, 128)
    found = DetectionManager().network_to_cut(model, (1, 3, 96, 96))
    with torch.no_grad():
        assert found(torch.randn(1, 3, 96, 96))["boxes"].shape == (1, 5, 4)
    assert found.proposals.count == 24
    sides = found.proposals.anchors[:, 2:] - found.proposals.anchors[:, :2]
    areas = sides.prod(1)
    assert [float(areas.min()) ** 0.5, float(areas.max()) ** 0.5] == pytest.approx([6, 96], rel=0.1)


def test_weights_of_torchvision_s_faster_rcnn_fit():
    with torch.device("meta"):
        theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        mine = faster_rcnn.faster_rcnn_resnet50_fpn().state_dict()
    assert {name: value.shape for name, value in mine.items()} == {name: value.shape for name, value in theirs.items()}


def test_a_width_that_resnet_50_cannot_have_is_refused():
    with pytest.raises(ValueError, match="width 24: a multiple of 16 expected"):
        faster_rcnn.faster_rcnn_resnet50_fpn(24)
