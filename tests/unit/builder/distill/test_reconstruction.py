"""Least squares: sums with factors, dead inputs, paths that overflowed, and the memory they take."""

import operator

import numpy as np
import pytest
import torch
import torch.nn as nn
from torch.profiler import ProfilerActivity, profile

from legodnn.builder.distill import reconstruction
from legodnn.builder.distill.reconstruction import Sample
from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.resources import peak_activation_bytes
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.managers.loss import relative_error
from legodnn.builder.prune.derive import derive
from tests.networks import conv, images


class Residual(nn.Module):
    """Two layers whose result is joined with their input."""

    def __init__(self, joined):
        super().__init__()
        self.a, self.b, self.joined = conv(3, 16), conv(16, 3), joined

    def forward(self, x):
        return self.joined(self.b(torch.relu(self.a(x))), x)


def odd_ones_first(channels, group):
    return -(np.arange(len(group.prunable)) % 2.0)


def redundant(joined):
    """A traced `Residual` whose odd inner channels repeat the even ones before them: without them, least squares can
    make it what it was."""
    torch.manual_seed(0)
    model = Residual(joined).eval()
    with torch.no_grad():
        model.b.weight.mul_(3)
        model.a.weight[1::2], model.a.bias[1::2] = model.a.weight[::2] * 0.9, model.a.bias[::2] * 0.9
    return trace(model, [images()])


def error_after(block, samples, x):
    channels = analyse(block)
    descendant = derive(block, channels, 0.5, round_to=1, importance=odd_ones_first)
    before = float(relative_error(descendant.module(x), block(samples[-1].taught)))
    reconstruction.fit(block, descendant, channels, samples)
    return before, float(relative_error(descendant.module(x), block(samples[-1].taught)))


JOINED = {
    "add with alpha": lambda y, x: torch.add(y, x, alpha=0.5),
    "add with alpha, the other way round": lambda y, x: torch.add(x, y, alpha=0.5),
    "add with alpha by name": lambda y, x: torch.add(input=y, other=x, alpha=-2),
    "add with alpha in the middle": lambda y, x: torch.add(y, 3, x),
    "operator": operator.add,
    "in place": operator.iadd,
    "method": lambda y, x: y.add(x, alpha=0.5),
    "method in place": lambda y, x: y.add_(x, alpha=0.5),
    "difference": operator.sub,
    "difference, the other way round": lambda y, x: x - y,
    "difference in place": operator.isub,
    "sub with alpha": lambda y, x: torch.sub(x, y, alpha=0.5),
    "sub as a method": lambda y, x: y.sub(x, alpha=0.5),
    "subtract": lambda y, x: torch.subtract(y, x, alpha=0.5),
    "reversed sub": lambda y, x: torch.rsub(y, x, alpha=0.5),
}


@pytest.mark.filterwarnings("ignore:This overload of add is deprecated")
@pytest.mark.parametrize("joined", JOINED.values(), ids=JOINED)
def test_a_sum_is_fitted_with_the_factors_it_has(joined, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    block, x = redundant(joined), images(32)
    before, after = error_after(block, [Sample(x, x)], x)
    assert before > 0.01
    assert after < 1e-3 * before


@pytest.mark.filterwarnings("ignore:This overload of add is deprecated")
@pytest.mark.parametrize("joined", JOINED.values(), ids=JOINED)
def test_a_layer_corrects_the_error_of_what_it_is_joined_with(joined):
    block, x = redundant(joined), images(64)
    seen = x + 0.3 * x.flip(1)
    _, blind = error_after(block, [Sample(x, x)], seen)
    _, corrected = error_after(block, [Sample(seen, x)], seen)
    assert corrected < 0.8 * blind


def test_a_layer_that_something_else_reads_as_well_as_a_sum_is_fitted_itself():
    """What corrects the error of the sum would be an error there."""
    weights = []
    for joined in (lambda y, x: y, lambda y, x: torch.cat([y + x, y], 1)):
        block, x = redundant(joined), images(64)
        channels = analyse(block)
        descendant = derive(block, channels, 0.5, round_to=1, importance=odd_ones_first)
        reconstruction.fit(block, descendant, channels, [Sample(x + 0.3 * x.flip(1), x)])
        weights.append(descendant.module.get_submodule("b").weight)
    assert torch.allclose(*weights, atol=1e-5)


@pytest.mark.parametrize("joined", [lambda y, x: torch.add(x, y, alpha=0), lambda y, x: y + 1, lambda y, x: y + y,
                                    lambda y, x: torch.lerp(y, x, 0.5)])  # fmt: skip
def test_what_is_no_sum_of_the_layer_and_another_value_is_not_taken_for_one(joined, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    block, x = redundant(joined), images(32)
    before, after = error_after(block, [Sample(x, x)], x)
    assert after <= 1e-3 * before


LAYERS = {
    "1-d": ((3, 40), nn.Conv1d(3, 8, 3), nn.Conv1d(8, 5, 3, stride=2, padding=1)),
    "2-d, oblong": ((3, 9, 12), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, (1, 3), stride=(2, 1), dilation=(1, 2), padding=1)),
    "2-d, reflected": ((3, 9, 12), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 5, 3, padding=(2, 1), padding_mode="reflect")),
    "3-d": ((3, 4, 5, 6), nn.Conv3d(3, 8, 1), nn.Conv3d(8, 5, (2, 1, 3), stride=(1, 2, 1), padding=(1, 0, 1))),
    "3-d, in groups": ((3, 4, 5, 6), nn.Conv3d(3, 8, 1), nn.Conv3d(8, 4, 3, groups=2, padding=1)),
    "positions": ((7, 3), nn.Linear(3, 8), nn.Linear(8, 5)),
}


@pytest.mark.parametrize(("shape", "first", "second"), LAYERS.values(), ids=LAYERS)
def test_layers_of_all_kinds_are_solved(shape, first, second, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    generator = torch.Generator().manual_seed(0)
    for parameter in [*first.parameters(), *second.parameters()]:
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    with torch.no_grad():
        first.weight[1::2], first.bias[1::2] = first.weight[::2] * 0.9, first.bias[::2] * 0.9
    x = torch.randn(32, *shape, generator=generator)
    block = trace(nn.Sequential(first, second).eval(), [x[:1]])
    before, after = error_after(block, [Sample(x, x)], x)
    assert before > 0.01
    assert after < 1e-3 * before


# ---- dead inputs ---------------------------------------------------------------------------------------------------
def dying(scales, bias, groups=1):
    """A block whose inner channels have the values of a convolution times ``scales``, and its second layer."""

    class Dying(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8), conv(8, 4, bias=bias, groups=groups)
            self.register_buffer("scales", torch.tensor(scales).view(8, 1, 1))

        def forward(self, x):
            return self.b(self.a(x) * self.scales)

    torch.manual_seed(0)
    return trace(Dying().eval(), [images()])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "scales", [[0.0] * 8, [1e-6] + [0.0] * 7, [1e-6] * 8, [1e-25] * 8, [1.0, 0.0] * 4, [1.0] * 4 + [0.0] * 4],
    ids=["all", "all but a trace", "a trace each", "squares underflow", "every other", "half"],
)  # fmt: skip
def test_weights_of_dead_inputs_stay_those_of_pruning(scales, bias):
    block, x = dying(scales, bias), images(16)
    channels = analyse(block)
    descendant = derive(block, channels, 0.25, round_to=1)
    kept = descendant.kept["b", "weight", 1]
    pruned = descendant.module.get_submodule("b").weight.clone()
    reconstruction.fit(block, descendant, channels, [Sample(x, x)])
    fitted = descendant.module.get_submodule("b").weight
    dead = torch.tensor(scales)[kept] < 1e-3
    assert torch.allclose(fitted[:, dead], pruned[:, dead], atol=1e-3)
    assert fitted.abs().max() < 10 * pruned.abs().max()
    assert dead.all() or not torch.allclose(fitted[:, ~dead], pruned[:, ~dead], atol=1e-3)


def test_a_dead_group_of_a_convolution_leaves_the_others_to_be_fitted():
    block, x = dying([0.0] * 4 + [1.0] * 4, bias=False, groups=2), images(16)
    channels = analyse(block)
    descendant = derive(block, channels, 0.25, round_to=1)
    layer = descendant.module.get_submodule("b")
    before = layer.weight.clone()
    reconstruction.fit(block, descendant, channels, [Sample(x, x)])
    assert torch.allclose(layer.weight[:2], before[:2])
    assert not torch.allclose(layer.weight[2:], before[2:], atol=1e-3)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30])
def test_a_path_that_overflowed_in_an_earlier_block_does_not_stop_the_fit(broken, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    block, x = redundant(operator.add), images(32)
    before, after = error_after(block, [Sample(torch.full_like(x, broken), x), Sample(x, x)], x)
    assert after < 1e-3 * before


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_teacher_that_overflowed_on_some_images_does_not_stop_the_fit(broken, monkeypatch):
    monkeypatch.setattr(reconstruction, "RIDGE", 1e-6)
    block, x = redundant(operator.add), images(32)
    before, after = error_after(block, [Sample(x, torch.full_like(x, broken)), Sample(x, x)], x)
    assert after < 1e-3 * before


# ---- memory --------------------------------------------------------------------------------------------------------
def peak_bytes(run):
    """The most bytes that tensors made by ``run`` held at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        run()
    events = watched.profiler.kineto_results.events()
    steps = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return int(np.cumsum([bytes for _, bytes in steps]).max())


def wide():
    torch.manual_seed(1)
    return trace(nn.Sequential(conv(16, 32), nn.ReLU(), conv(32, 16)).eval(), [torch.zeros(1, 16, 32, 32)])


def fitted(samples):
    block = wide()
    channels = analyse(block)
    descendant = derive(block, channels, 0.25, round_to=1)
    return descendant, lambda: reconstruction.fit(block, descendant, channels, samples)


def test_the_fit_holds_no_more_than_it_says(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(128, 16, 32, 32)  # the block's values for it take 48 MiB
    descendant, run = fitted([Sample(x, x)])
    columns = descendant.module.get_submodule("2").weight[0].numel() + 1
    monkeypatch.setattr(reconstruction, "PIECE_BYTES", 4 * 1024**2)
    assert peak_bytes(run) < reconstruction.PIECE_BYTES + 16 * columns**2 + 2**20


SIZED = {
    "convolution": (conv(16, 32), conv(32, 16), lambda: 64 * (24 * 9 + 1)),
    "of fewer positions": (nn.Conv2d(16, 32, 3, stride=8, padding=1), conv(32, 16), lambda: 16 * (24 * 9 + 1)),
    "of fewer than what it reads": (conv(16, 32), nn.Conv2d(32, 16, 3, 8, 1), lambda: 16 * (24 * 9 + 1)),
    "in groups": (conv(16, 32), conv(32, 16, groups=2), lambda: 64 * (12 * 9 + 1) * 2),
    "linear": (nn.Linear(32, 24), nn.Linear(24, 16), lambda: 16 * (18 + 1)),
}


@pytest.mark.parametrize(("first", "second", "regressors"), SIZED.values(), ids=SIZED)
def test_as_many_images_are_read_at_once_as_fit_with_the_regressors_and_their_copy(
    first, second, regressors, monkeypatch
):
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return torch.relu(x)

    x = torch.randn(12, 16, 32) if isinstance(first, nn.Linear) else torch.randn(12, 16, 32, 32)
    block = trace(nn.Sequential(first, nn.ReLU(), second).eval(), [x[:1]])
    channels = analyse(block)
    block.add_module("1", Watching())
    needed = 2 * peak_activation_bytes(block, views=False) + 2 * 4 * regressors()
    for limit, pieces in ((3 * needed, [3] * 4), (3 * needed - 1, [2] * 6), (needed // 2, [1] * 12)):
        monkeypatch.setattr(reconstruction, "PIECE_BYTES", limit)
        descendant = derive(block, channels, 0.25, round_to=1)
        seen.clear()
        descendant.module.add_module("1", nn.ReLU())
        reconstruction.fit(block, descendant, channels, [Sample(x, x)])
        assert seen == pieces


def test_a_few_hundred_mebibytes_are_read_in_one_piece():
    x = torch.randn(64, 16, 32, 32)
    block = wide()
    channels = analyse(block)
    descendant = derive(block, channels, 0.25, round_to=1)
    block.add_module("1", Small(room=1000))
    reconstruction.fit(block, descendant, channels, [Sample(x, x)])
    assert block.get_submodule("1").seen == [64]


def test_in_pieces_the_fit_is_what_it_is_in_one(monkeypatch):
    torch.manual_seed(0)
    x = torch.randn(24, 16, 32, 32)
    whole, run = fitted([Sample(x, x)])
    run()
    pieces, run = fitted([Sample(x, x)])
    monkeypatch.setattr(reconstruction, "PIECE_BYTES", 1)
    run()
    for a, b in zip(whole.module.parameters(), pieces.module.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_a_block_whose_input_does_not_begin_with_the_images_is_not_divided(monkeypatch):
    class Sequences(nn.Module):  # (length, images, channels)
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x):
            return self.b(torch.relu(self.a(x - x.mean(0, keepdim=True))))

    torch.manual_seed(0)
    x = torch.randn(6, 32, 8)
    block = trace(Sequences().eval(), [x])
    next(iter(block.graph.nodes)).meta["shapes"] = ((6, 32, 8), (6, 33, 8))  # as behind a transposition
    channels = analyse(block)
    weights = []
    for limit in (1, 2**30):
        monkeypatch.setattr(reconstruction, "PIECE_BYTES", limit)
        descendant = derive(block, channels, 0.25, round_to=1)
        reconstruction.fit(block, descendant, channels, [Sample(x, x)])
        weights.append(descendant.module.get_submodule("b").weight)
    assert torch.allclose(*weights, atol=1e-4)


# ---- out of memory -------------------------------------------------------------------------------------------------
class Small(nn.Module):
    """An activation on a device that has room for so many images."""

    def __init__(self, room):
        super().__init__()
        self.room, self.seen = room, []

    def forward(self, x):
        if len(x) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.seen.append(len(x))
        return torch.relu(x)


def on_a_small_device(room, images_count=24):
    torch.manual_seed(0)
    x = torch.randn(images_count, 16, 32, 32)
    block = wide()
    channels = analyse(block)
    descendant, roomy = derive(block, channels, 0.25, round_to=1), derive(block, channels, 0.25, round_to=1)
    reconstruction.fit(block, roomy, channels, [Sample(x, x)])
    block.add_module("1", Small(room))
    return (block, descendant, channels, [Sample(x, x)]), roomy


def test_where_memory_runs_out_the_fit_is_made_on_fewer_images_at_once():
    arguments, roomy = on_a_small_device(room=5)
    reconstruction.fit(*arguments)
    assert arguments[0].get_submodule("1").seen == [3] * 8
    pairs = zip(arguments[1].module.parameters(), roomy.module.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def test_where_not_one_image_fits_it_is_called_out_of_memory():
    arguments, _ = on_a_small_device(room=0)
    with pytest.raises(RuntimeError, match="out of memory"):
        reconstruction.fit(*arguments)


def test_no_other_error_is_tried_again():
    arguments, _ = on_a_small_device(room=24)
    tries = []

    def wrong(x):
        tries.append(x)
        raise RuntimeError("shapes cannot be multiplied")

    arguments[0].get_submodule("1").forward = wrong
    with pytest.raises(RuntimeError, match="multiplied"):
        reconstruction.fit(*arguments)
    assert len(tries) == 1
