"""A manager's metric has the name that the manager gives it."""

import pytest
import torch

from legodnn.builder import CommonModelManager
from legodnn.builder.managers import AbstractModelManager, DetectionManager, TaskManager
from legodnn.shared.errors import UsageError
from legodnn.shared.tasks.classification import IMAGES
from tests.networks import images, network


def loader():
    return [(images(8), torch.arange(8) % 4)]


class Balanced(CommonModelManager):
    metric = "balanced accuracy"

    def get_model_acc(self, model, test_loader, device):
        return 0.25


class Unnamed(CommonModelManager):
    def get_model_acc(self, model, test_loader, device):
        return 0.25


class Mixed(Balanced):
    """Inherits the name."""


class Named:
    task, metric = "defects", "recall"


class ByMixin(Named, CommonModelManager):
    """Has its names from a class beside the manager."""


class Late(CommonModelManager):
    def __init__(self):
        super().__init__()
        self.metric = "mean error"


@pytest.mark.parametrize(("manager", "task", "metric"), [
    (CommonModelManager, "image classification", "top-1 accuracy"),
    (DetectionManager, "object detection", "mAP@.5"),
    (Balanced, "image classification", "balanced accuracy"),
    (Mixed, "image classification", "balanced accuracy"),
    (ByMixin, "defects", "recall"),
    (Late, "image classification", "mean error"),
    (Unnamed, "image classification", "accuracy"),
])  # fmt: skip
def test_a_manager_s_own_names_are_kept(manager, task, metric):
    made = manager()
    assert (made.task, made.metric) == (task, metric)


def test_a_manager_made_of_an_application_has_its_names():
    made = TaskManager(IMAGES)
    assert (made.task, made.metric) == ("image classification", "top-1 accuracy")
    assert AbstractModelManager.metric == "accuracy"


def test_a_metric_that_nobody_computes_is_refused_with_those_that_are():
    class Wishful(CommonModelManager):
        metric = "beauty"

    with pytest.raises(UsageError, match=r"Wishful: metric 'beauty' is none of the figures .*top-1 accuracy"):
        Wishful().get_model_acc(network("functional"), loader(), "cpu")
    assert Wishful().get_trivial_acc(loader()) is None


def test_the_chance_level_is_that_of_the_application_s_metric_alone():
    assert CommonModelManager().get_trivial_acc(loader()) == 0.25
    assert Balanced().get_trivial_acc(loader()) is None
