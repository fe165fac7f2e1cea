"""The metrics of classes: each against a reference that counts one input after the other, written apart from them."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from legodnn.shared.errors import DataError
from legodnn.shared.tasks.classification import ACTIONS, CONFUSION_CLASSES, IMAGES, above, probabilities
from legodnn.shared.tasks.judgement import Judgement
from legodnn.shared.tasks.task import Meaning, Part

LABELS = Meaning(("nothing", "cat", "dog"))
NAN, INF = float("nan"), float("inf")


def judged(*batches, threshold=None, task=IMAGES):
    """The meter of (scores, labels) in batches."""
    meter = task.meter(threshold)
    for scores, labels in batches:
        meter.add([torch.as_tensor(scores, dtype=torch.float32)], [torch.as_tensor(labels, dtype=torch.int64)])
    return meter


def chance_of(*batches, task=IMAGES):
    chance = task.chance()
    for labels in batches:
        chance.add([torch.tensor(labels, dtype=torch.int64)])
    return chance.figures()


# ---- references -----------------------------------------------------------------------------------------------------
def first_best(row):
    return row.index(max(row))


def recalls(taken, labels, classes):
    """Class by class, None where it does not occur: as scikit-learn's recall_score(average=None)."""
    rows = [[t for t, label in zip(taken, labels, strict=True) if label == c] for c in range(classes)]
    return [row.count(c) / len(row) if row else None for c, row in enumerate(rows)]


def precisions(taken, labels, classes):
    return recalls(labels, taken, classes)


def mean(values):
    there = [value for value in values if value is not None]
    return sum(there) / len(there)


def ranked_right(margins, labels):
    """The share of pairs of one input of each class in which class 1 has the higher margin, ties counting half."""
    ones = [m for m, label in zip(margins, labels, strict=True) if label]
    zeros = [m for m, label in zip(margins, labels, strict=True) if not label]
    return sum((a > b) + (a == b) / 2 for a, b in itertools.product(ones, zeros)) / (len(ones) * len(zeros))


def averaged_precision(margins, labels):
    """The sum over thresholds of precision times recall gained: as scikit-learn's average_precision_score."""
    area, before = 0.0, 0.0
    for limit in sorted(set(margins), reverse=True):
        taken = [label for m, label in zip(margins, labels, strict=True) if m >= limit]
        recall = sum(taken) / sum(labels)
        area += (recall - before) * sum(taken) / len(taken)
        before = recall
    return area


# Few values, so that many scores are equal.
def inputs(classes):
    row = st.lists(st.integers(-2, 2).map(float), min_size=classes, max_size=classes)
    return st.lists(st.tuples(row, st.integers(0, classes - 1)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 12).flatmap(inputs), st.integers(0, 25))
def test_figures_are_what_counting_says(rows, cut):
    scores, labels = [row for row, _ in rows], [label for _, label in rows]
    classes, taken = len(scores[0]), [first_best(row) for row in scores]
    parts = [(scores[:cut], labels[:cut]), (scores[cut:], labels[cut:])]
    meter = judged(*(part for part in parts if part[0]))
    found = meter.figures()
    right = [t == label for t, label in zip(taken, labels, strict=True)]
    wanted = {"top-1 accuracy": sum(right) / len(right), "balanced accuracy": mean(recalls(taken, labels, classes))}
    if classes >= 10:
        # of ties the first: sorted is stable
        orders = [sorted(range(classes), key=lambda c: -row[c])[:5] for row in scores]
        wanted["top-5 accuracy"] = sum(label in order for label, order in zip(labels, orders, strict=True)) / len(rows)
    if classes == 2 and 0 < sum(labels) < len(labels):
        margins = [b - a for a, b in scores]
        wanted["AUROC"] = ranked_right(margins, labels)
        wanted["average precision"] = averaged_precision(margins, labels)
    assert found == pytest.approx(wanted)
    assert next(iter(found)) == "top-1 accuracy"
    expected = zip(recalls(taken, labels, classes), precisions(taken, labels, classes), strict=True)
    assert meter.parts() == [
        Part(c, labels.count(c), {"recall": pytest.approx(recall), "precision": pytest.approx(precision)})
        for c, (recall, precision) in enumerate(expected)
    ]
    pairs = list(zip(labels, taken, strict=True))
    assert meter.confusion() == [[pairs.count((a, b)) for b in range(classes)] for a in range(classes)]
    assert meter.lost == 0


@pytest.mark.parametrize(("classes", "told"), [(9, False), (10, True), (11, True)])
def test_the_five_best_are_told_from_ten_classes_on(classes, told):
    found = judged((torch.eye(classes), range(classes))).figures()
    assert ("top-5 accuracy" in found) == told
    assert found.get("top-5 accuracy", 1.0) == 1.0


def test_one_class_s_scores_do_not_count_for_another():
    scores = torch.arange(12.0).repeat(4, 1)
    found = judged((scores[:3], [11, 7, 6]), (scores[3:], [11])).figures()
    assert found == {"top-1 accuracy": 0.5, "top-5 accuracy": 0.75, "balanced accuracy": pytest.approx(1 / 3)}


def test_classes_that_never_occur_have_no_recall_and_do_not_count():
    meter = judged(([[3.0, 0, 0, 0], [3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]], [0, 0, 0, 1]))
    assert meter.figures()["balanced accuracy"] == (2 / 3 + 0) / 2
    assert [(p.count, p.figures["recall"], p.figures["precision"]) for p in meter.parts()] == [
        (3, 2 / 3, 1.0), (1, 0.0, 0.0), (0, None, 0.0), (0, None, None),
    ]  # fmt: skip


def test_areas_need_both_classes():
    found = judged(([[0.0, 1.0], [1.0, 0.0]], [1, 1])).figures()
    assert found == {"top-1 accuracy": 0.5, "balanced accuracy": 0.5}


def test_scores_that_saturate_as_probabilities_are_still_ranked():
    found = judged(([[0.0, 100.0], [0.0, 200.0], [0.0, 150.0]], [0, 1, 1])).figures()
    assert found["AUROC"] == 1.0


def test_actions_have_the_names_of_clips():
    assert list(judged((torch.eye(10), range(10)), task=ACTIONS).figures()) == [
        "clip top-1 accuracy", "clip top-5 accuracy", "balanced accuracy",
    ]  # fmt: skip


def test_many_classes_have_no_confusion_matrix():
    for classes in (CONFUSION_CLASSES, CONFUSION_CLASSES + 1):
        meter = judged((torch.eye(classes), range(classes)))
        assert (meter.confusion() is None) == (classes > CONFUSION_CLASSES)
        assert len(meter.parts()) == classes


# ---- chance ---------------------------------------------------------------------------------------------------------
def test_chance_is_the_most_frequent_class_of_each_metric():
    labels = [0, 3, 3, 3, 9, 9, 1, 2, 4, 5]
    wanted = {"clip top-1 accuracy": 0.3, "clip top-5 accuracy": 0.8, "balanced accuracy": pytest.approx(1 / 7)}
    assert chance_of(labels, task=ACTIONS) == wanted
    assert chance_of(labels[:3], labels[3:], task=ACTIONS) == wanted
    two = {"top-1 accuracy": 0.75, "top-5 accuracy": 1.0, "balanced accuracy": 0.5}
    assert chance_of([0, 1, 0, 0]) == {**two, "AUROC": 0.5, "average precision": 0.25}
    assert chance_of([1, 1, 1, 0]) == {**two, "AUROC": 0.5, "average precision": 0.75}
    assert "AUROC" not in chance_of([1, 1])
    assert "AUROC" not in chance_of([1, 2, 0])


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12).flatmap(lambda classes: st.tuples(st.just(classes), inputs(classes))))
def test_chance_is_what_the_best_constant_answer_gets(drawn):
    classes, rows = drawn
    labels = [label for _, label in rows]
    order = sorted(range(classes), key=lambda c: -labels.count(c))
    constant = [0.0] * classes
    for rank, label in enumerate(order):
        constant[label] = -float(rank)
    found = judged(([constant] * len(labels), labels)).figures()
    levels = chance_of(labels)
    assert found == pytest.approx({name: levels[name] for name in found})


def test_a_judgement_has_the_chance_of_its_figures_alone():
    meter, chance = judged((torch.eye(3), [0, 1, 2])), IMAGES.chance()
    chance.add([torch.tensor([0, 1, 2])])
    found = Judgement.of(meter, chance)
    assert list(found.chance) == list(found.figures) == ["top-1 accuracy", "balanced accuracy"]
    assert found.confusion == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert found.parts_plain("class", LABELS)[1] == {
        "class": 1, "label": "cat", "count": 1, "figures": {"recall": 1.0, "precision": 1.0},
    }  # fmt: skip


# ---- thresholds -----------------------------------------------------------------------------------------------------
def softmax(row):
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


@pytest.mark.parametrize("kind", ["logits", "probabilities", "logarithms"])
@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.5, 0.75, 0.95])
def test_a_threshold_decides_what_counts_as_class_one(kind, threshold):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(60, 2, generator=generator) * 2
    labels = torch.randint(0, 2, (60,), generator=generator)
    likely = [softmax(row)[1] for row in logits.tolist()]
    scores = {"logits": logits, "probabilities": logits.softmax(1), "logarithms": logits.log_softmax(1)}[kind]
    meter = judged((scores, labels), threshold=threshold)
    taken = [int(p > threshold) for p in likely]
    found, plain = meter.figures(), judged((scores, labels)).figures()
    assert found["top-1 accuracy"] == mean([t == w for t, w in zip(taken, labels.tolist(), strict=True)])
    assert found["balanced accuracy"] == pytest.approx(mean(recalls(taken, labels.tolist(), 2)))
    assert [part.figures["recall"] for part in meter.parts()] == pytest.approx(recalls(taken, labels.tolist(), 2))
    pairs = list(zip(labels.tolist(), taken, strict=True))
    assert meter.confusion() == [[pairs.count((a, b)) for b in (0, 1)] for a in (0, 1)]
    # How inputs are ranked has nothing to do with it.
    assert [found[name] for name in ("AUROC", "average precision")] == list(plain.values())[2:]
    if threshold == 0.5:
        assert found == plain


def test_the_usual_threshold_is_the_higher_score():
    close = torch.tensor([[0.0, 0.0], [0.0, 1e-30], [1e-30, 0.0], [0.5, 0.5], [1.0, 1.0]])
    assert above(close, 0.5).tolist() == [False, True, False, False, False]
    assert above(torch.tensor([[0.0, 90.0], [0.0, 20.0]]), 1 - 1e-12).tolist() == [True, False]


def test_a_threshold_is_for_two_classes():
    with pytest.raises(DataError, match="a threshold is for two classes, the network has 3"):
        judged((torch.eye(3), [0, 1, 2]), threshold=0.3)


# ---- answers --------------------------------------------------------------------------------------------------------
def test_a_classifier_s_answer():
    results = IMAGES.results([torch.tensor([[0.0, 3.0, 0.0]])], LABELS)
    assert (results["class"], results["label"]) == (1, "cat")
    assert IMAGES.text(results) == "cat (90.9%)"
    assert IMAGES.results([torch.eye(5)[4:]], LABELS)["label"] == "4"


def test_probabilities_are_taken_as_they_are_and_logits_by_softmax():
    scores = torch.tensor([[0.25, 0.75], [0.25, 0.76], [-0.5, 1.5], [2.0, 0.0]])
    wanted = [[0.25, 0.75], *(softmax(row) for row in scores[1:].tolist())]
    assert probabilities(scores).tolist() == [pytest.approx(row) for row in wanted]
    assert IMAGES.results([scores[:1]], LABELS)["probability"] == 0.75
    many = torch.randn(50, 1000, generator=torch.Generator().manual_seed(1)).softmax(1)
    assert torch.equal(probabilities(many), many.double())


# ---- what cannot be judged ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("row", [[NAN, 0.0], [0.0, NAN], [INF, 0.0], [-INF, -INF]])
def test_an_answer_that_is_no_number_is_wrong(row):
    for label in (0, 1):
        meter = judged(([row, [1.0, 0.0], [0.0, 1.0]], [label, 0, 1]))
        found = meter.figures()
        assert found["top-1 accuracy"] == pytest.approx(2 / 3)
        assert found["balanced accuracy"] == 0.75
        assert meter.lost == 1
        assert sum(map(sum, meter.confusion())) == 2
        assert [part.count for part in meter.parts()] == [1 + (label == 0), 1 + (label == 1)]
        assert [part.figures["precision"] for part in meter.parts()] == [1.0, 1.0]
    nan = judged(([[NAN, 0.0], [1.0, 0.0], [0.0, 1.0]], [1, 0, 1])).figures()
    assert nan["AUROC"] == 0.5  # of two pairs the one with it is wrong
    many = judged((torch.full((3, 10), NAN), [0, 1, 2]))
    assert set(many.figures().values()) == {0.0}
    assert many.lost == 3


def test_a_class_that_is_ruled_out_is_an_answer():
    meter = judged(([[-INF, 1.0, 0.0], [0.0, -INF, -INF]], [1, 0]))
    assert meter.figures()["top-1 accuracy"] == 1.0
    assert meter.lost == 0


@pytest.mark.parametrize(("scores", "labels", "reason"), [
    (torch.eye(3), [0, 1, 3], "a label is 3, the network knows 0 to 2"),
    (torch.eye(3), [0, -1, 2], "a label is -1, the network knows 0 to 2"),
    (torch.eye(3), [0, 1], "3 answers of the network, but 2 truths"),
    (torch.ones(2, 1), [0, 0], "one score per input"),
])  # fmt: skip
def test_what_is_no_classification_is_refused(scores, labels, reason):
    with pytest.raises(DataError, match=reason):
        judged((scores, labels))


def test_a_network_that_changes_its_number_of_scores_is_refused():
    with pytest.raises(DataError, match="4 scores per input, after 3 before"):
        judged((torch.eye(3), [0, 1, 2]), (torch.eye(4), [0, 1, 2, 3]))


def test_negative_labels_have_no_chance_level():
    with pytest.raises(DataError, match="a label is -2"):
        chance_of([0, -2])


def test_batches_without_inputs_are_nothing_to_judge():
    for meter in (judged(), judged((torch.zeros(0, 3), []))):
        with pytest.raises(DataError, match="nothing to judge"):
            meter.figures()
    with pytest.raises(DataError, match="nothing to judge"):
        chance_of([])
