"""The applications: metrics against well-known implementations and by hand, and what is said of outputs."""

import contextlib
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.anomaly import auroc, average_precision
from legodnn.shared.tasks.detection import Boxes
from legodnn.shared.tasks.known import TASKS, task_named
from legodnn.shared.tasks.task import Meaning

LABELS = Meaning(("nothing", "cat", "dog"))
NAN, INF = float("nan"), float("inf")


def meter_of(name, *batches):
    meter = TASKS[name].meter()
    for outputs, truths in batches:
        meter.add(outputs, truths)
    return meter


def test_every_application_is_known_by_its_name_and_judged_by_its_metric():
    assert len(TASKS) == 6
    assert all(task_named(name) is task for name, task in TASKS.items())
    assert task_named("telling fortunes") is None


@pytest.mark.parametrize("name", list(TASKS))
def test_a_metric_that_has_counted_nothing_says_so(name):
    with pytest.raises(DataError, match="nothing to judge"):
        TASKS[name].meter().figures()
    with pytest.raises(DataError, match="nothing to judge"):
        TASKS[name].chance().figures()


EMPTY = {
    "image classification": ([torch.zeros(0, 3)], [torch.zeros(0, dtype=torch.long)]),
    "action recognition": ([torch.zeros(0, 3)], [torch.zeros(0, dtype=torch.long)]),
    "semantic segmentation": ([torch.zeros(0, 3, 2, 2)], [torch.zeros(0, 2, 2, dtype=torch.long)]),
    "object detection": ([torch.zeros(0, 5, 4), torch.zeros(0, 5), torch.zeros(0, 5)], [[]]),
    "anomaly detection": ([torch.zeros(0, 1)], [torch.zeros(0)]),
    "pose estimation": ([torch.zeros(0, 4, 3)], [torch.zeros(0, 4, 3), torch.zeros(0)]),
}


@pytest.mark.parametrize("name", list(TASKS))
def test_a_batch_without_inputs_is_nothing_to_judge(name):
    outputs, truths = EMPTY[name]
    with pytest.raises(DataError, match="nothing to judge"):
        meter_of(name, (outputs, truths)).figures()
    with pytest.raises(DataError, match="nothing to judge"):
        trivial_of(name, truths)


@pytest.mark.parametrize("name", list(TASKS))
def test_there_must_be_a_truth_for_each_answer(name):
    outputs, truths = EMPTY[name]
    more = [torch.zeros(1, *output.shape[1:]) for output in outputs]
    with pytest.raises(DataError, match="1 answers of the network, but 0 truths"):
        meter_of(name, (more, truths))


def trivial_of(name, *truths):
    """What the trivial answer gets, from the truths alone."""
    constant = TASKS[name].chance()
    for batch in truths:
        constant.add(batch)
    return constant.figures()


# ---- masks ----------------------------------------------------------------------------------------------------------
def scores_of(mask, classes=3):
    return torch.nn.functional.one_hot(torch.tensor([mask]), classes).permute(0, 3, 1, 2).float()


def test_mean_intersection_over_union_of_what_is_there_or_found():
    truth = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255]]])
    found = scores_of([[0, 0, 0, 1], [0, 0, 1, 1]], classes=4)
    meter = meter_of("semantic segmentation", ([found], [truth]))
    # class 0: 4 of 5, class 1: 2 of 3; classes 2 and 3 are nowhere, and nothing is said about one pixel
    assert meter.figures() == pytest.approx({"mean IoU": (4 / 5 + 2 / 3) / 2, "pixel accuracy": 6 / 7})
    assert trivial_of("semantic segmentation", [truth]) == pytest.approx(
        {"mean IoU": 4 / 7 / 2, "pixel accuracy": 4 / 7}
    )
    assert trivial_of("semantic segmentation", [truth], [torch.full((1, 1, 6), 4)]) == pytest.approx(
        {"mean IoU": 6 / 13 / 3, "pixel accuracy": 6 / 13}
    )


def test_every_class_of_masks_has_its_own_intersection_over_union():
    truth = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 255]]])
    first = ([scores_of([[0, 0, 0, 1], [0, 0, 1, 1]], classes=4)], [truth])
    second = ([scores_of([[3, 1]], classes=4)], [torch.tensor([[[1, 1]]])])
    meter = meter_of("semantic segmentation", first, second)
    assert [(p.number, p.count, p.figures["IoU"]) for p in meter.parts()] == [
        (0, 4, 4 / 5), (1, 5, pytest.approx(3 / 5)), (2, 0, None), (3, 0, 0.0),
    ]  # fmt: skip
    assert meter.figures()["mean IoU"] == pytest.approx((4 / 5 + 3 / 5 + 0) / 3)
    assert TASKS["semantic segmentation"].meter().parts() == []


def test_a_pixel_without_a_finite_score_is_wrong():
    scores = scores_of([[0, 0, 1, 1]], classes=2)
    scores[0, 1, 0, 0], scores[0, :, 0, 3] = NAN, -INF
    meter = meter_of("semantic segmentation", ([scores], [torch.tensor([[[0, 0, 1, 1]]])]))
    assert meter.figures() == pytest.approx({"mean IoU": 0.5, "pixel accuracy": 0.5})
    assert meter.lost == 2
    assert meter_of("semantic segmentation", ([scores], [torch.tensor([[[255, 0, 1, 255]]])])).lost == 0


@pytest.mark.parametrize("wrong", [7, -1])
def test_a_mask_with_a_class_the_network_does_not_know_is_refused(wrong):
    with pytest.raises(DataError, match=f"class {wrong}, the network knows 0 to 2"):
        meter_of("semantic segmentation", ([scores_of([[0, 1]])], [torch.tensor([[[0, wrong]]])]))


def test_a_segmenter_that_changes_its_number_of_classes_is_refused():
    batches = [([scores_of([[0]], classes=n)], [torch.tensor([[[0]]])]) for n in (3, 4)]
    with pytest.raises(DataError, match="4 scores per pixel, after 3 before"):
        meter_of("semantic segmentation", *batches)


def test_a_segmenter_s_answer():
    task = TASKS["semantic segmentation"]
    results = task.results([scores_of([[0, 0, 0, 2]])], LABELS)
    assert [(row["label"], row["share"]) for row in results["classes"]] == [("nothing", 0.75), ("dog", 0.25)]
    assert task.text(results) == "nothing 75%, dog 25%"


# ---- boxes ----------------------------------------------------------------------------------------------------------
def detections(rows, count=6):
    rows = [[*row] for row in rows] + [[0.0] * 6] * (count - len(rows))
    made = torch.tensor(rows)
    return [made[None, :, :4], made[None, :, 4], made[None, :, 5].long()]


def test_average_precision_by_hand():
    truth = Boxes.of(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), torch.tensor([1, 1]))
    found = detections([[0, 0, 10, 10, 0.9, 1], [50, 50, 60, 60, 0.8, 1], [20, 20, 30, 30, 0.7, 1]])
    meter = meter_of("object detection", (found, [[truth]]))
    # precision 1 up to recall 0.5 (51 of 101 steps), 2/3 beyond
    assert meter.figures()["mAP@.5"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_every_class_of_objects_has_its_own_average_precision():
    there = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 9]])
    truth = Boxes.of(there, torch.tensor([1, 1, 3]))
    found = detections([[0, 0, 10, 10, 0.9, 1], [0, 0, 10, 6, 0.8, 3], [5, 5, 9, 9, 0.7, 2]])
    meter = meter_of("object detection", (found, [[truth]]))
    half = 51 / 101
    # 60 of 90 square pixels are common: right up to an overlap of 0.65
    assert [(p.number, p.count, p.figures) for p in meter.parts()] == [
        (1, 2, pytest.approx({"AP@.5": half, "AP@[.5:.95]": half})),
        (2, 0, {"AP@.5": None, "AP@[.5:.95]": None}),
        (3, 1, pytest.approx({"AP@.5": 1.0, "AP@[.5:.95]": 0.4})),
    ]
    wanted = {"mAP@.5": (half + 1) / 2, "mAP@[.5:.95]": (half + 0.4) / 2}
    assert meter.figures() == pytest.approx(wanted)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_detection_that_is_no_number_is_a_wrong_one(place, value):
    row = [0.0, 0, 10, 10, 0.95, 1]
    row[place] = value
    truth = Boxes.of(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1]))
    meter = meter_of("object detection", (detections([row, [0, 0, 10, 10, 0.9, 1]]), [[truth]]))
    assert meter.figures()["mAP@.5"] == pytest.approx(0.5)
    assert meter.lost == 1
    padding = [value] * 5 + [0]
    padded = meter_of("object detection", (detections([[0, 0, 10, 10, 0.9, 1], padding]), [[truth]]))
    assert (padded.figures()["mAP@.5"], padded.lost) == (1.0, 0)


def random_images(seed, images=12, classes=3):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.rand(shape, generator=generator)

    for _ in range(images):
        g, extra = int(drawn(1) * 7), int(drawn(1) * 6)
        corners = drawn(g, 2) * 60
        there = torch.cat([corners, corners + 5 + drawn(g, 2) * 40], 1)
        labels = (drawn(g) * classes).long() + 1
        near = there + (drawn(g, 4) - 0.5) * 4
        wild = drawn(extra, 2) * 60
        boxes = torch.cat([near, torch.cat([wild, wild + 5 + drawn(extra, 2) * 40], 1), near[:1]])
        kinds = torch.cat([labels, (drawn(extra) * classes).long() + 1, labels[:1]])
        scores = (drawn(len(boxes)) * 8).round() / 8  # many are equal
        yield there, labels, drawn(g) < 0.2, boxes, scores, kinds


def coco_says(images):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def wide(box):
        left, top, right, bottom = box
        return [left, top, right - left, bottom - top]

    truth, found = [], []
    for number, (there, labels, crowd, boxes, scores, kinds) in enumerate(images, start=1):
        for box, label, many in zip(there.double().tolist(), labels.tolist(), crowd.tolist(), strict=True):
            truth.append(
                {"id": len(truth) + 1, "image_id": number, "category_id": label, "bbox": wide(box),
                 "area": wide(box)[2] * wide(box)[3], "iscrowd": int(many)}
            )  # fmt: skip
        for box, score, kind in zip(boxes.double().tolist(), scores.tolist(), kinds.tolist(), strict=True):
            found.append({"image_id": number, "category_id": kind, "bbox": wide(box), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(images))],
            "categories": [{"id": c} for c in (1, 2, 3)],
            "annotations": truth,
        }
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {"mAP@.5": judged.stats[1], "mAP@[.5:.95]": judged.stats[0]}


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_is_what_coco_s_own_evaluation_says(seed):
    images = list(random_images(seed))
    meter = TASKS["object detection"].meter()
    for there, labels, crowd, boxes, scores, kinds in images:
        meter.add([boxes[None], scores[None], kinds[None]], [[Boxes(there, labels, crowd)]])
    assert meter.figures() == pytest.approx(coco_says(images), abs=1e-9)


def test_images_without_objects_count_what_is_found_in_them():
    truth = Boxes.of(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1]))
    nothing = Boxes.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    right, wrong = detections([[0, 0, 10, 10, 0.5, 1]]), detections([[0, 0, 10, 10, 0.9, 1]])
    meter = meter_of("object detection", (right, [[truth]]), (wrong, [[nothing]]))
    assert meter.figures()["mAP@.5"] == pytest.approx(0.5)
    with pytest.raises(DataError, match="no objects"):
        meter_of("object detection", (right, [[nothing]])).figures()


def test_the_chance_level_is_one_object_of_the_most_frequent_class_at_its_mean_box():
    rows = [[0.0, 0, 10, 10], [0, 0, 10, 14], [40, 40, 50, 50], [0, 0, 10, 99]]
    first = Boxes(torch.tensor(rows), torch.tensor([2, 2, 1, 2]), torch.tensor([False, False, False, True]))
    second = Boxes.of(torch.tensor([[0.0, 0, 10, 12], [60, 60, 70, 70]]), torch.tensor([2, 3]))
    third = Boxes.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    # 10 x 12 in every image: on one of the first image's two, exactly on the second image's, on nothing in the third.
    # Precision 1 up to recall 2/3, 67 of 101 steps. At 0.9 and 0.95 the first counts neither way, for it lies in a
    # crowd: precision 1 up to recall 1/3, 34 steps. The other two of three classes are never found.
    wanted = {"mAP@.5": 67 / 101 / 3, "mAP@[.5:.95]": (8 * 67 + 2 * 34) / 10 / 101 / 3}
    assert trivial_of("object detection", [[first]], [[second, third]]) == pytest.approx(wanted)
    assert trivial_of("object detection", [[first, second, third]]) == pytest.approx(wanted)
    nothing = [output.expand(3, *output.shape[1:]) for output in detections([])]
    meter = meter_of("object detection", (nothing, [[first, second, third]]))
    assert meter.figures()["mAP@.5"] == 0


def test_a_detector_s_answer():
    task = TASKS["object detection"]
    outputs = detections([[1, 2, 11, 22, 0.75, 2], [0, 0, 5, 5, 0.25, 1]])
    assert task.reads(outputs)
    results = task.results(outputs, LABELS)
    assert [(row["label"], row["score"]) for row in results["objects"]] == [("dog", 0.75), ("cat", 0.25)]
    assert task.text(results) == "dog 75% 10x20 at 1,2"
    assert task.text(task.results(detections([]), LABELS)) == "nothing found"


# ---- scores ---------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_areas_under_curves_are_what_counting_says(rows):
    scores = torch.tensor([float(score) for score, _ in rows])
    abnormal = torch.tensor([kind for _, kind in rows])
    if not 0 < int(abnormal.sum()) < len(rows):
        return
    pairs = [(a > n) + (a == n) / 2 for a in scores[abnormal].tolist() for n in scores[~abnormal].tolist()]
    assert auroc(scores, abnormal) == pytest.approx(sum(pairs) / len(pairs))
    area, before = 0.0, 0.0
    for limit in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= limit
        recall = float(abnormal[taken].sum() / abnormal.sum())
        area += (recall - before) * float(abnormal[taken].double().mean())
        before = recall
    assert average_precision(scores, abnormal) == pytest.approx(area)


@pytest.mark.parametrize("kind", [0, 1])
def test_inputs_of_one_kind_cannot_be_judged(kind):
    meter = meter_of("anomaly detection", ([torch.rand(3, 1)], [torch.full((3,), kind)]))
    with pytest.raises(DataError, match=f"all 3 inputs are {['normal', 'abnormal'][kind]}"):
        meter.figures()


def test_the_chance_level_is_one_score_for_all():
    truths = [torch.tensor([0, 0, 1, 0, 0, 1, 0, 0])]
    assert trivial_of("anomaly detection", truths) == {"AUROC": 0.5, "AUPR": 0.25}
    with pytest.raises(DataError, match="all 2 inputs are normal"):
        trivial_of("anomaly detection", [torch.zeros(2)])


@pytest.mark.parametrize(("kind", "area"), [(0, 0.5), (1, 0.5)])
def test_a_score_that_is_no_number_ranks_last_where_it_is_wrong(kind, area):
    scores, truths = torch.tensor([[NAN], [0.2], [0.8]]), torch.tensor([kind, 0, 1])
    meter = meter_of("anomaly detection", ([scores], [truths]))
    assert meter.figures()["AUROC"] == area
    assert meter.lost == 1
    assert meter_of("anomaly detection", ([scores[1:]], [truths[1:]])).lost == 0
    assert meter.parts() == ()
    assert meter.confusion() is None


def test_a_score_is_called_abnormal_above_the_bundle_s_threshold():
    task = TASKS["anomaly detection"]
    assert task.results([torch.tensor([[2.5]])], Meaning()) == {"score": 2.5}
    results = task.results([torch.tensor([[2.5]])], Meaning(threshold=2.0))
    assert task.text(results) == "abnormal (score 2.5, abnormal above 2)"
    assert not task.results([torch.tensor([[1.5]])], Meaning(threshold=2.0))["abnormal"]


# ---- keypoints ------------------------------------------------------------------------------------------------------
def test_keypoints_are_judged_where_they_are_visible_in_sizes_of_the_pose():
    wanted = torch.tensor([[[10.0, 10, 1], [50, 50, 1], [0, 0, 0]]])
    found = torch.tensor([[[14.0, 13, 0.9], [50, 59, 0.8], [90, 90, 0.1]]])
    meter = meter_of("pose estimation", ([found], [wanted, torch.tensor([100.0])]))
    assert meter.figures() == pytest.approx({"PCK@0.1": 1.0, "PCK@0.05": 0.5, "mean error": 0.07})
    tight = meter_of("pose estimation", ([found], [wanted, torch.tensor([80.0])]))
    assert tight.figures()["PCK@0.1"] == 0.5


def test_every_keypoint_has_its_own_figures():
    wanted = torch.tensor([[[10.0, 10, 1], [50, 50, 1], [0, 0, 0]], [[10.0, 10, 1], [50, 50, 0], [0, 0, 0]]])
    found = torch.tensor([[[14.0, 13, 1], [50, 70, 1], [9, 9, 1]], [[10.0, 10, 1], [9, 9, 1], [9, 9, 1]]])
    meter = meter_of("pose estimation", ([found], [wanted, torch.tensor([50.0, 50])]))
    assert [(p.number, p.count, p.figures) for p in meter.parts()] == [
        (0, 2, pytest.approx({"PCK@0.1": 1.0, "PCK@0.05": 0.5, "mean error": 0.05})),
        (1, 1, pytest.approx({"PCK@0.1": 0.0, "PCK@0.05": 0.0, "mean error": 0.4})),
    ]
    assert [list(p.figures) for p in meter.parts()] == [list(meter.figures())] * 2


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_position_that_is_no_number_is_missed_and_has_no_mean_distance(value):
    wanted = torch.tensor([[[10.0, 10, 1], [50, 50, 1], [0, 0, 0]]])
    found = torch.tensor([[[10.0, value, 1], [50, 50, 1], [value, 0, 1]]])
    meter = meter_of("pose estimation", ([found], [wanted, torch.tensor([50.0])]))
    assert meter.figures() == {"PCK@0.1": 0.5, "PCK@0.05": 0.5}
    assert [p.figures["mean error"] for p in meter.parts()] == [None, 0.0]
    assert next(iter(meter.parts()[0].figures)) == "PCK@0.1"
    assert meter.lost == 1


@pytest.mark.parametrize(("keypoints", "size"), [([[NAN, 0.0, 1.0]], 9.0), ([[0.0, 0.0, 1.0]], INF)])
def test_poses_in_the_data_are_finite(keypoints, size):
    with pytest.raises(DataError, match="not finite"):
        meter_of("pose estimation", ([torch.zeros(1, 1, 3)], [torch.tensor([keypoints]), torch.tensor([size])]))


def test_the_chance_level_is_the_mean_pose():
    wanted = torch.tensor([[[0.0, 0, 1]], [[10.0, 0, 1]], [[900.0, 0, 0]]])
    truths = [wanted, torch.tensor([100.0, 100, 100])]
    assert trivial_of("pose estimation", truths) == pytest.approx({"PCK@0.1": 1.0, "PCK@0.05": 1.0, "mean error": 0.05})
    assert meter_of("pose estimation", ([torch.zeros(3, 1, 3)], truths)).figures()["PCK@0.05"] == 0.5
    apart = torch.tensor([[[0.0, 0, 1], [0, 0, 1]], [[30.0, 40, 1], [0, 0, 0]]])
    wanted = {"PCK@0.1": 1 / 3, "PCK@0.05": 1 / 3, "mean error": (0.25 + 0.5) / 3}
    assert trivial_of("pose estimation", [apart, torch.tensor([100.0, 50.0])]) == pytest.approx(wanted)


def test_poses_nobody_can_see_or_without_a_size_are_refused():
    hidden = torch.zeros(1, 2, 3)
    with pytest.raises(DataError, match="no visible keypoints"):
        meter_of("pose estimation", ([hidden], [hidden, torch.ones(1)])).figures()
    with pytest.raises(DataError, match="without a size"):
        meter_of("pose estimation", ([hidden], [hidden, torch.zeros(1)]))
    with pytest.raises(DataError, match="2 keypoints in the data, 3 in the network's answer"):
        meter_of("pose estimation", ([torch.zeros(1, 3, 3)], [hidden, torch.ones(1)]))


def test_a_pose_s_answer():
    task = TASKS["pose estimation"]
    results = task.results([torch.tensor([[[1.0, 2, 0.5], [3, 4, 0.25]]])], Meaning(("neck", "hem")))
    assert results["keypoints"][1] == {"label": "hem", "x": 3.0, "y": 4.0, "score": 0.25}
    assert task.text(results) == "neck (1, 2), hem (3, 4)"
