"""What every network must go through: blocks, composition, descendants, archives."""

import copy
import io

import pytest
import torch
import torch.nn as nn

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.export import export
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.graph.values import tensors_in
from legodnn.shared.bundle.archive import join_archive
from legodnn.shared.errors import ModelError
from legodnn.shared.programs.operators import check_operators
from tests.networks import randomised
from tests.odd_networks import Around

SIZE = (2, 3, 8, 8)


def seeded(make):
    """A network whose weights let the input through to the end."""
    torch.manual_seed(0)
    model = randomised(make())
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and not name.startswith("odd."):
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    return model


def around(part=nn.Identity):
    return seeded(lambda: Around(part()))


def find_blocks(model, size=SIZE):
    return AutoBlockManager([0.5], model, CommonModelManager(), size, compress_layer_max_ratio=0.5)


def refused(model, size=SIZE):
    """The one sentence that refuses a network."""
    with pytest.raises(ModelError) as caught:
        find_blocks(model, size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def close(found, expected, tolerance=1e-5):
    """Whether tensors are equal: to the bit with a tolerance of 0."""
    pairs = list(zip(tensors_in(found), tensors_in(expected), strict=True))
    return all(torch.equal(a, b) if tolerance == 0 else torch.allclose(a, b, atol=tolerance) for a, b in pairs)


def check(make, size=SIZE, *, teacher=None, tolerance=0.0, masks=True):
    """The whole way: composed from originals it is the teacher, pruned it is what masking gives, and it exports."""
    blocks = find_blocks(make(), size)
    with torch.no_grad():
        for inputs in (blocks.samples, [torch.cat([x, x]) for x in blocks.samples]):
            expected = (teacher or make)().eval()(*[x.clone() for x in inputs])
            assert close(compose(blocks.graph, blocks.originals, {})(*inputs), expected, tolerance)
        pruned = {name: blocks.derive(name, "sparsity=0.5") for name in blocks.block_names}
        for name, descendant in pruned.items():
            inputs = blocks.example_inputs(name)
            assert descendant.kept
            if masks:
                assert close(descendant.module(*inputs), masked(blocks.folded[name], descendant)(*inputs))
        for segment in blocks.graph.segments:
            check_export(blocks.folded[segment.name], blocks.example_inputs(segment.name))
        for name, descendant in pruned.items():
            check_export(descendant.module, blocks.example_inputs(name))
    return blocks


def masked(block, descendant):
    """A copy of the block with the weights of the channels that are gone set to zero."""
    block = copy.deepcopy(block)
    for (owner, parameter, axis), kept in descendant.kept.items():
        value = getattr(block.get_submodule(owner), parameter).data
        gone = torch.ones(value.shape[axis], dtype=torch.bool)
        gone[kept] = False
        value.movedim(axis, 0)[gone] = 0
    return block


def check_export(module, inputs):
    exported = export(prepare(module, "fp32"), inputs, "fp32")
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    loaded = torch.jit.load(io.BytesIO(join_archive(exported.program, exported.storages, version)))
    check_operators(loaded, "segment")
    assert close(loaded(*inputs), module(*inputs))


def layers(blocks):
    return {name for block in blocks.block_names for name in blocks.layers(block)}
