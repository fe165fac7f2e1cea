"""Blocks come from the graph; put together again they are the teacher. Golden listings show what is cut where."""

import dataclasses
import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torchvision

from legodnn.builder import CommonModelManager
from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.dominators import immediate_dominators
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.segments import cut, layers_of
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.zoo.classification import resnet_cifar
from tests.benchmarks.registry import NETWORKS as COVERED
from tests.networks import NETWORKS, images, network, randomised

GOLDEN = Path(__file__).parents[3] / "golden"
LISTED = """
resnet18 vgg16_bn mobilenet_v2 squeezenet1_1 shufflenet_v2_x0_5 mnasnet0_5 mobilenet_v3_small efficientnet_b0
regnet_y_400mf densenet121 googlenet inception_v3 resnext50_32x4d convnext_tiny swin_t swin_v2_t vit_b_32 maxvit_t
lraspp_mobilenet_v3_large fcn_resnet50 deeplabv3_mobilenet_v3_large r3d_18 s3d raft_small
ssdlite320_mobilenet_v3_large fasterrcnn_mobilenet_v3_large_320_fpn retinanet_resnet50_fpn zoo/resnet18_cifar
zoo/vgg16_cifar zoo/mobilenet_v2_cifar zoo/resnext29_cifar zoo/wide_resnet_cifar zoo/se_resnet18_cifar
zoo/cbam_resnet18_cifar zoo/attention56_cifar zoo/inception_v3_cifar zoo/yolov3 zoo/fcn_resnet18
zoo/deeplabv3_resnet18 zoo/ganomaly zoo/ordinal_regression zoo/deeppose_resnet18 zoo/simple_baseline_resnet18
zoo/tsn_resnet18 zoo/trn_resnet18
""".split()
FEW = {
    "resnet18_cifar": (resnet_cifar.resnet18, 32),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), 64),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(weights=None), 64),
}


def listing(graph):
    lines = []
    for segment in graph.segments:
        arrow = f"{', '.join(n.name for n in segment.inputs)} -> {', '.join(n.name for n in segment.outputs)}"
        lines.append(f"{segment.name}: {arrow}")
        lines += [f"    {layer}" for layer in layers_of(graph.teacher, segment.nodes)]
        if segment.is_block:
            for group in analyse(fold_norms(graph.module(segment))).groups():
                # Where in the network's code it is said is left out: lines move from version to version.
                reasons = [(n, dataclasses.replace(reason, source="")) for reason, n in group.not_prunable.items()]
                prunable = f"{' + '.join(group.layers)}: {len(group.prunable)} may go"
                lines.append(f"    = {'; '.join([prunable, *[f'{n} stay: {reason}' for n, reason in reasons]])}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", LISTED)
def test_golden_block_listing(name):
    listed = COVERED[name]
    torch.manual_seed(0)
    model = CommonModelManager().network_to_cut(listed.make().eval(), listed.shape)
    found = listing(cut(trace(model, [torch.randn(shape) for shape in listed.inputs]), 0.125))
    path = GOLDEN / f"{name.replace('/', '-')}.txt"
    if os.environ.get("LEGODNN_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


@pytest.mark.parametrize("name", FEW)
def test_larger_networks_put_together_from_originals_are_the_teacher(name):
    make, size = FEW[name]
    torch.manual_seed(0)
    model, x = randomised(make()), images(1, size)
    check_composition(model, x, 0.125)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_put_together_from_originals_is_the_teacher(name, ratio):
    check_composition(network(name), images(), ratio)


def check_composition(model, x, ratio):
    graph = cut(trace(model, [x]), ratio)
    originals = {s.name: graph.module(s) for s in graph.segments}
    folded = {name: fold_norms(module) for name, module in originals.items()}
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(compose(graph, originals, {})(x), expected)
        error = (compose(graph, folded, {})(x) - expected).norm() / expected.norm()
    assert error < 1e-5


def test_a_linear_layer_takes_over_a_normalisation_without_weights():
    model = randomised(
        nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8, affine=False), nn.ReLU(), nn.Linear(8, 4))
    )
    x = images(2, 2)
    folded = fold_norms(trace(model, [x]))
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in folded.modules())
    with torch.no_grad():
        assert torch.allclose(folded(x), model(x), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_segments_partition_the_graph_and_run_in_order(name):
    graph = cut(trace(network(name), [images()]), 0.3)
    known = set(graph.inputs)
    seen = []
    for segment in graph.segments:
        assert set(segment.inputs) <= known
        known.update(segment.outputs)
        seen += segment.nodes
    assert len(seen) == len(set(seen))
    assert set(graph.outputs) <= known


@pytest.mark.parametrize("ratio", [0.05, 0.125, 0.5])
def test_a_block_has_one_tensor_in_one_out_and_not_too_many_layers(ratio):
    graph = cut(trace(resnet_cifar.resnet18(), [images(1, 32)]), ratio)
    layers = len(layers_of(graph.teacher, graph.teacher.graph.nodes))
    for block in graph.blocks:
        assert len(block.inputs) == len(block.outputs) == 1
        assert len(layers_of(graph.teacher, block.nodes)) <= max(1, math.ceil(ratio * layers))


def test_cifar_resnet18_has_its_eight_residual_blocks():
    graph = cut(trace(resnet_cifar.resnet18(), [images(1, 32)]), 0.125)
    assert len(graph.blocks) == 8


def test_a_branch_too_large_for_one_block_is_searched_inside():
    graph = cut(trace(torchvision.models.densenet121(weights=None), [images(1, 64)]), 0.05)
    inside = [b for b in graph.blocks if "denselayer" in layers_of(graph.teacher, b.nodes)[0]]
    assert len(inside) > 20


def test_dominators_of_a_diamond():
    #        0 -> 1 -> 2, 3 -> 4 -> 5, and 1 -> 4
    assert immediate_dominators([[], [0], [1], [1], [2, 3, 1], [4]]) == [0, 0, 1, 1, 1, 4]
