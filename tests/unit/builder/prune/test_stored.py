"""Descendants come back from their files as they were, without ranking channels again."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune.derive import derive, rebuild
from legodnn.builder.prune.stored import load_descendant, save_descendant
from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.shared.errors import UsageError, WorkError
from tests.networks import NETWORKS, conv, images, network


def whole(model):
    module = fold_norms(trace(model, [images()]))
    return module, analyse(module)


def same(a, b):
    assert a.module.code == b.module.code
    assert repr(a.module) == repr(b.module)
    assert list(a.kept) == list(b.kept)
    for one, other in ((a.kept, b.kept), (a.module.state_dict(), b.module.state_dict())):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


MORE = {
    "many groups": lambda: nn.Sequential(conv(3, 16), nn.GroupNorm(8, 16), nn.ReLU(), conv(16, 4)),
    "flattened": lambda: nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(8 * 64, 4)),
}


@pytest.mark.parametrize("sparsity", [0.25, 0.6])
@pytest.mark.parametrize("name", [*NETWORKS, *MORE])
def test_rebuilt_from_what_it_kept_a_descendant_is_what_it_was(name, sparsity):
    block, channels = whole(MORE[name]().eval() if name in MORE else network(name))
    derived = derive(block, channels, sparsity, round_to=1)
    assert derived.kept
    same(rebuild(block, channels, derived.kept), derived)


@pytest.mark.parametrize("name", ["gated", "branches", "transposed"])
def test_a_file_has_weights_and_structure(name, tmp_path):
    block, channels = whole(network(name))
    descendant = derive(block, channels, 0.5, round_to=1)
    with torch.no_grad():
        for parameter in descendant.module.parameters():
            parameter.add_(1)
    save_descendant(tmp_path / "x.pt", descendant)
    # Weights that have changed since rank the channels in another order.
    for parameter in block.parameters():
        parameter.data = torch.randn_like(parameter)
    same(load_descendant(tmp_path / "x.pt", block, channels), descendant)


def test_nothing_pruned_is_a_descendant_too(tmp_path):
    block, channels = whole(network("gated"))
    descendant = derive(block, channels, 0.0)
    save_descendant(tmp_path / "x.pt", descendant)
    same(load_descendant(tmp_path / "x.pt", block, channels), descendant)


def damaged(plain, how):
    owner, name, axis, index = plain["kept"][0]
    rows = {
        "another index": [owner, name, axis, (index + 1).clamp(max=int(index.max()))],
        "too far": [owner, name, axis, index + 1000],
        "negative": [owner, name, axis, index - 1000],
        "nothing": [owner, name, axis, index[:0]],
        "another layer": ["nowhere", name, axis, index],
    }
    if how == "weights":
        return {**plain, "state": dict(list(plain["state"].items())[1:])}
    if how == "no structure":
        return plain["state"]
    return {**plain, "kept": [rows[how], *plain["kept"][1:]]}


@pytest.mark.parametrize(
    "how", ["another index", "too far", "negative", "nothing", "another layer", "weights", "no structure"]
)
def test_what_is_no_descendant_of_the_block_is_refused_with_its_file(how, tmp_path):
    block, channels = whole(network("gated"))
    path = tmp_path / "x.pt"
    save_descendant(path, derive(block, channels, 0.5, round_to=1))
    save_tensors(path, damaged(load_tensors(path), how))
    with pytest.raises(WorkError, match=r"x\.pt: .*delete the work directory"):
        load_descendant(path, block, channels)


def test_indices_of_a_tensor_that_the_block_has_not_are_refused():
    block, channels = whole(network("gated"))
    kept = derive(block, channels, 0.5, round_to=1).kept
    with pytest.raises(UsageError, match=r"kept indices of nowhere\.weight is not one of this block"):
        rebuild(block, channels, {("nowhere", "weight", 0): torch.tensor([0]), **kept})


def test_coupled_channels_must_have_been_kept_together():
    block, channels = whole(network("gated"))
    kept = dict(derive(block, channels, 0.5, round_to=1).kept)
    del kept[next(iter(kept))]
    with pytest.raises(UsageError, match="coupled channels differ"):
        rebuild(block, channels, kept)
