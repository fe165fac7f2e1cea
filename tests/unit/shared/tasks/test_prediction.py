"""The error of a predicted accuracy: the sample's is part of it, or it is said on which examples it holds."""

import math
from dataclasses import replace

import pytest
import torch

from legodnn.shared.bundle.manifest import Predictor
from legodnn.shared.errors import BundleError
from legodnn.shared.tasks.known import TASKS
from legodnn.shared.tasks.prediction import error_note, is_share, prediction_error, standard_error

PREDICTOR = Predictor(0.9, ((0.0, 0.0), (1.0, 0.5)), 0.011, 0.02, 12, judged=445)
TOP, IOU = ("image classification", "top-1 accuracy"), ("semantic segmentation", "mean IoU")


@pytest.mark.parametrize(("accuracy", "inputs"), [(0.872, 445), (0.5, 100), (0.98, 1000), (0.02, 1000)])
def test_the_standard_error_is_the_binomial_one(accuracy, inputs):
    assert standard_error(accuracy, inputs) == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / inputs), rel=0.05)


def test_it_is_how_far_samples_of_one_truth_are_apart():
    generator = torch.Generator().manual_seed(0)
    shares = (torch.rand(4000, 445, generator=generator) < 0.872).double().mean(1)
    assert standard_error(0.872, 445) == pytest.approx(float(shares.std()), rel=0.05)


@pytest.mark.parametrize("inputs", [1, 3, 20, 445])
def test_few_right_inputs_are_no_certainty(inputs):
    assert standard_error(1.0, inputs) == pytest.approx(standard_error(0.0, inputs))
    assert standard_error(1.0, inputs) > 0.5 / (inputs + 3)
    assert standard_error(1.0, 1) == pytest.approx(math.sqrt(1 / 18))  # two of three, and of one after it


def test_a_share_s_error_has_both_parts():
    both = prediction_error(PREDICTOR, *TOP, 0.872)
    assert both == pytest.approx(math.sqrt(0.011**2 + standard_error(0.872, 445) ** 2))
    assert prediction_error(PREDICTOR, *TOP, 0.5) > both  # of a less certain share
    assert error_note(PREDICTOR, *TOP) == ""


@pytest.mark.parametrize(("task", "metric"), [
    IOU, ("object detection", "mAP@.5"), ("image classification", "balanced accuracy"), ("vision", "top-1 accuracy"),
    ("image classification", "accuracy"),
])  # fmt: skip
def test_the_error_of_other_metrics_is_said_to_hold_on_the_judged_examples(task, metric):
    assert prediction_error(PREDICTOR, task, metric, 0.872) == 0.011
    assert error_note(PREDICTOR, task, metric) == " on the builder's 445 examples"
    assert error_note(replace(PREDICTOR, judged=12345), task, metric) == " on the builder's 12,345 examples"


def test_bundles_that_do_not_say_how_many_were_judged_claim_no_more():
    old = replace(PREDICTOR, judged=0)
    assert prediction_error(old, *TOP, 0.872) == 0.011
    assert error_note(old, *TOP) == error_note(old, *IOU) == " on the builder's examples"


def test_only_classifications_count_inputs():
    assert {name for name, task in TASKS.items() if is_share(name, task.metric)} == {
        "image classification", "action recognition",
    }  # fmt: skip


def test_the_number_is_optional_and_possible():
    plain = PREDICTOR.to_plain()
    assert Predictor.from_plain(plain) == PREDICTOR
    del plain["judged"]
    assert Predictor.from_plain(plain).judged == 0
    with pytest.raises(BundleError, match="judged on -1 inputs"):
        Predictor.from_plain({**plain, "judged": -1})
