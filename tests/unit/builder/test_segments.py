"""Blocks come from the graph; put together again they are the teacher. Golden listings show what is cut where."""

import math
import os
from pathlib import Path

import pytest
import torch
import torchvision

from legodnn.builder.compose import compose
from legodnn.builder.graph.analysis import analyse
from legodnn.builder.graph.dominators import immediate_dominators
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.segments import cut, layers_of
from legodnn.builder.graph.trace import trace
from legodnn.builder.zoo import resnet_cifar
from tests.networks import NETWORKS, images, network, randomised

GOLDEN = Path(__file__).parents[2] / "golden"
FOUR = {
    "cifar_resnet18": (lambda: resnet_cifar.resnet18(), 32),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), 224),
    "vgg16_bn": (lambda: torchvision.models.vgg16_bn(weights=None), 224),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(weights=None), 224),
}


def listing(graph):
    lines = []
    for segment in graph.segments:
        arrow = f"{', '.join(n.name for n in segment.inputs)} -> {', '.join(n.name for n in segment.outputs)}"
        lines.append(f"{segment.name}: {arrow}")
        lines += [f"    {layer}" for layer in layers_of(graph.teacher, segment.nodes)]
        if segment.is_block:
            for family in analyse(fold_norms(graph.module(segment))).families():
                kept = f", {family.protected} stay: {'; '.join(family.reasons)}" if family.protected else ""
                lines.append(f"    = {' + '.join(family.layers)}: {len(family.classes)} may go{kept}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", FOUR)
def test_golden_block_listing(name):
    make, size = FOUR[name]
    torch.manual_seed(0)
    found = listing(cut(trace(make(), [images(1, size)]), 0.125))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("LEGODNN_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


@pytest.mark.parametrize("name", ["cifar_resnet18", "resnet18", "mobilenet_v2"])
def test_the_four_put_together_from_originals_are_the_teacher(name):
    make, size = FOUR[name]
    torch.manual_seed(0)
    model, x = randomised(make()), images(1, min(size, 64))
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
