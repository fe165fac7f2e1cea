"""Managers leave the network they are given as it is."""

import pytest
import torch
import torch.nn as nn
import torchvision

from legodnn.builder import AutoBlockManager
from legodnn.builder.managers import (
    ActionManager,
    AnomalyManager,
    CommonModelManager,
    DetectionManager,
    PoseManager,
    SegmentationManager,
)
from legodnn.builder.zoo.detection.yolov3 import yolov3
from tests.networks import conv

INPUT = (1, 3, 16, 16)


class Net(nn.Module):
    """Everything that may change: normalisation, dropout, a counter, a cache, a hook, a frozen part."""

    def __init__(self, *tail):
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Dropout(), conv(16, 16), nn.BatchNorm2d(16),
            nn.ReLU(), conv(16, 4), *tail,
        )  # fmt: skip
        self.register_buffer("runs", torch.zeros((), dtype=torch.int64))
        self.cache = {}
        self.body[0].weight.requires_grad_(False)
        self.body[1].register_forward_hook(lambda module, args, result: None)

    def forward(self, x):
        self.runs += 1
        self.cache["size"] = tuple(x.shape[2:])
        return self.body(x)


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
CASES = {
    "image classification": (CommonModelManager, lambda: Net(*POOL), INPUT),
    "segmentation": (SegmentationManager, Net, INPUT),
    "pose, heat maps": (PoseManager, Net, INPUT),
    "pose, coordinates": (PoseManager, lambda: Net(*POOL, nn.Linear(4, 10), nn.Unflatten(1, (5, 2))), INPUT),
    "anomalies": (AnomalyManager, lambda: Net(*POOL, nn.Linear(4, 1)), INPUT),
    "actions": (ActionManager, lambda: Net(*POOL), INPUT),
    "detection, torchvision": (
        DetectionManager,
        lambda: torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None),
        (1, 3, 64, 64),
    ),
    "detection, maps": (DetectionManager, yolov3, (1, 3, 64, 64)),
}


def state_of(model):
    tensors = {n: (id(t), t._version, t.requires_grad, t.device) for n, t in model.state_dict(keep_vars=True).items()}
    modules = {
        name: (id(m), m.training, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m)), m.extra_repr())
        for name, m in model.named_modules()
    }
    return tensors, modules, repr(getattr(model, "cache", None))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_cutting_leaves_the_network_and_the_random_numbers_alone(case, training):
    manager, make, size = CASES[case]
    model = make().train(training)
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).train(not training)  # a mode of its own
    before, values = state_of(model), {n: t.clone() for n, t in model.state_dict().items()}
    random = torch.get_rng_state()
    AutoBlockManager([0.5], model, manager(), size, 0.5)
    assert state_of(model) == before
    assert all(torch.equal(t, values[n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    "measure",
    [
        lambda model: CommonModelManager().get_model_latency(model, 2, INPUT, "cpu"),
        lambda model: CommonModelManager().get_model_flops_and_param(model, INPUT),
        lambda model: CommonModelManager().dummy_forward_to_gen_mid_data(model, INPUT, "cpu"),
        lambda model: CommonModelManager().get_model_size(model),
    ],
    ids=["latency", "flops", "dummy", "size"],
)
def test_measuring_leaves_the_network_as_it_was(measure):
    model = Net(*POOL).train()
    values = {n: t.clone() for n, t in model.state_dict().items()}
    measure(model)
    assert model.training
    assert model.cache == {}
    assert all(torch.equal(t, values[n]) for n, t in model.state_dict().items())
