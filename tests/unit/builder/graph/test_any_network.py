"""Networks as people write them: each works from blocks to archives, or one sentence says why not and what to do."""

import copy
import io

import pytest
import torch
import torch.nn as nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from legodnn.builder import AutoBlockManager, CommonModelManager, Opaque
from legodnn.builder.bundle.export import export
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.graph.tracing.trace import trace
from legodnn.shared.bundle.archive import join_archive
from tests import odd_attention, odd_weights
from tests import odd_networks as odd
from tests.networks import images
from tests.whole_way import SIZE, around, check, close, find_blocks, layers, refused


# ---- what the code does -------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:an image of")
@pytest.mark.parametrize("name", odd.PARTS)
def test_a_part_that_can_be_followed_works_from_blocks_to_archives(name):
    blocks = check(lambda: around(odd.PARTS[name]))
    assert not blocks.teacher.meta["opaque"]
    assert {"before", "after"} <= {name.partition(".")[0] for name in layers(blocks)}


def test_only_the_innermost_module_that_asks_for_data_is_kept_whole_and_both_its_cases_are_kept():
    blocks = check(lambda: around(odd.DataDependent))
    assert list(blocks.teacher.meta["opaque"]) == ["odd.inner"]
    assert {"odd.first", "odd.last"} <= layers(blocks)
    whole = nn.Sequential(blocks.teacher.get_submodule("odd.inner"))
    exported = export(prepare(whole, "fp32"), [torch.ones(1)], "fp32")
    loaded = torch.jit.load(io.BytesIO(join_archive(exported.program, exported.storages, (2, 1))))
    assert [loaded(torch.tensor([x])).item() for x in (1.0, -1.0)] == [2.0, -1.0]


def test_a_layer_of_torch_with_a_condition_of_its_own_is_not_taken_for_that_layer():
    blocks = check(lambda: around(odd.DataDependentConv))
    assert "odd" not in layers(blocks)
    pruned = [blocks.derive(name, "sparsity=0.5") for name in blocks.block_names]
    assert all(owner != "odd" for descendant in pruned for owner, _, _ in descendant.kept)


def test_a_condition_around_attention_keeps_both_whole():
    blocks = check(lambda: around(lambda: odd_attention.Attention("tokens")), tolerance=1e-6)
    assert list(blocks.teacher.meta["opaque"]) == ["odd"]


@pytest.mark.parametrize("padded", [False, True])
def test_a_transformers_encoder_is_followed_beside_a_module_that_is_kept_whole(padded):
    def make():
        return around(lambda: nn.Sequential(odd_attention.Encoders(padded), odd.DataDependent()))

    assert list(check(make, tolerance=1e-5, masks=False).teacher.meta["opaque"]) == ["odd.1.inner"]


def test_a_module_that_calls_itself_is_followed():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(8, 12, 1), nn.Conv2d(12, 8, 1)

        def forward(self, x):
            return self(x.squeeze(1)) if x.dim() == 5 else self.second(self.first(x).relu())

    blocks = check(lambda: around(lambda: nn.Sequential(nn.Unflatten(1, (1, 8)), Part())))
    assert not blocks.teacher.meta["opaque"]


def test_a_loop_over_the_batch_is_kept_whole_and_takes_other_batches():
    blocks = check(lambda: around(odd.BatchLoop))
    assert "batch size" in blocks.teacher.meta["opaque"]["odd"]


def test_a_number_that_a_module_reads_off_its_data_keeps_its_caller_whole():
    class Number(nn.Module):
        def forward(self, x):
            return float(x.sum())

    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.number = Number()

        def forward(self, x):
            return x * self.number(x)

    assert list(check(lambda: around(Part)).teacher.meta["opaque"]) == ["odd.number", "odd"]


def test_data_dependent_code_at_the_top_is_refused_with_its_line():
    class Top(odd.Around):
        def forward(self, x):
            return super().forward(x) if x.mean() < 1e9 else x

    message = refused(Top(nn.Identity()))
    assert "top level cannot be traced: a condition depends on the data of 'lt' (test_any_network.py:" in message
    assert "move that part into a module of its own" in message


def test_what_neither_tracing_nor_torchscript_holds_is_refused_by_name():
    class Part(nn.Module):
        def forward(self, x):
            return (lambda y: y * 2)(x) if float(x.sum()) > 0 else x

    message = refused(around(Part))
    assert message.startswith("'odd' (Part) cannot be followed (a number depends on the data")
    assert message.endswith("write its forward in what TorchScript knows")


def test_lower_precision_inside_is_computed_in_32_bits():
    check(lambda: around(lambda: odd.Modes(autocast=True)), teacher=lambda: around(odd.Modes))


def test_a_compiled_function_is_looked_into():
    def swish(x):
        return x * torch.sigmoid(x)

    make, teacher = (lambda: around(lambda: odd.Functions(torch.compile(swish)))), lambda: around(odd.Functions)
    assert not check(make, teacher=teacher).teacher.meta["opaque"]


def test_what_a_network_prints_stays_out_of_the_result(capsys):
    blocks = find_blocks(around(odd.Printing))
    capsys.readouterr()
    compose(blocks.graph, blocks.originals, {})(*blocks.samples)
    assert capsys.readouterr().out == ""


def test_a_network_is_left_as_it_was():
    model = around(odd.Counting).train()
    model.before[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    find_blocks(model)
    assert model.training
    assert not model.before[0].weight.requires_grad
    assert model.head.weight.requires_grad
    assert model.odd.calls == 0
    assert model.odd.kept is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_in_training_mode_is_taken_in_eval_mode():
    check(lambda: around(odd.Residual).train(), teacher=lambda: around(odd.Residual))


def test_a_network_that_has_run_before_and_kept_its_tensors_works():
    def used():
        model = around(odd_weights.SizeBuffers)
        model.features = model(images())
        return model

    check(used)


# ---- attention ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", odd_attention.ATTENTION)
def test_attention_works_from_blocks_to_archives(name):
    normalised = name in ("encoder layer", "scaled dot product")
    blocks = check(lambda: around(odd_attention.ATTENTION[name]), tolerance=1e-6, masks=not normalised)
    assert not blocks.teacher.meta["opaque"]


@pytest.mark.parametrize(("part", "layer", "rows"), [
    (odd_attention.Attention, "odd.attention.in_proj", 48), (odd_attention.Encoder, "odd.layer.self_attn.in_proj", 48),
    (lambda: odd_attention.Attention("cross"), "odd.attention.key", 16),
    (odd_attention.ScaledDotProduct, "odd.qkv", 96),
])  # fmt: skip
def test_whole_heads_go(part, layer, rows):
    blocks = find_blocks(around(part))
    name = next(name for name in blocks.block_names if layer in blocks.layers(name))
    assert blocks.derive(name, "sparsity=0.5").module.get_submodule(layer).out_features == rows // 2


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_without_a_batch_computes_what_it_did(batch_first):
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

        def forward(self, x, y):
            return (*self.attention(x, x, x), *self.attention(x, y, y, key_padding_mask=y[:, 0] > 1))

    torch.manual_seed(0)
    model, inputs = Part().eval(), list(torch.randn(2, 5, 8))
    with torch.no_grad():
        assert close(trace(model, inputs)(*inputs), model(*inputs), 1e-6)


# ---- weights ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_computed_in_32_bits(dtype):
    def make():
        return around(odd_weights.ComputedWeights).to(dtype)

    blocks = check(make, teacher=lambda: make().float())
    assert {p.dtype for p in blocks.teacher.parameters()} == {torch.float32}


class Absolute(nn.Module):
    def forward(self, weight):
        return weight.abs()


@pytest.mark.parametrize("how", [
    weight_norm, parametrizations.weight_norm, spectral_norm, parametrizations.spectral_norm,
    lambda layer: parametrize.register_parametrization(layer, "weight", Absolute()),
    lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
], ids=["old weight norm", "weight norm", "old spectral norm", "spectral norm", "own", "pruned"])  # fmt: skip
def test_weights_computed_anew_in_every_run_are_computed_once(how):
    def make():
        model = around()
        for layer in (model.before[3], model.after[0], model.head):
            how(layer)
        model.train()(images())
        return model.eval()

    assert {"before.3", "after.0", "head"} <= layers(check(make))


def test_layers_that_share_a_weight_get_one_each_and_lose_their_own_channels():
    blocks = find_blocks(around(odd_weights.Tied))
    first, second = (blocks.teacher.get_submodule(name).weight for name in ("odd.a", "odd.b"))
    assert first is not second
    assert torch.equal(first, second)
    pruned = [blocks.derive(name, "sparsity=0.5").module for name in blocks.block_names]
    weights = {name: weight for module in pruned for name, weight in module.named_parameters()}
    assert weights["odd.a.weight"].shape == weights["odd.b.weight"].shape == (6, 6, 3, 3)


def test_weights_that_are_no_numbers_are_named():
    model = around()
    model.after[0].weight.data[0, 0] = float("nan")
    assert refused(model).startswith("weights that are not finite numbers in after.0.weight")


def test_a_network_without_weights_on_any_device_is_refused():
    reason = refused(around().to("meta"))
    assert reason.startswith("'before.0' (Conv2d) has no weights: ")
    assert "on the meta device; make the network" in reason


def test_a_lazy_network_that_never_ran_is_refused():
    reason = refused(nn.Sequential(nn.LazyConv2d(8, 3)))
    assert reason.startswith("'0' (LazyConv2d) has no 'weight' yet; run the network once")


def test_a_lazy_network_that_has_run_works():
    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.LazyConv2d(8, 3))
        model(images())
        return model.eval()

    check(make)


def test_a_network_made_without_gradients_works():
    def make():
        with torch.inference_mode():
            return around()

    check(make)


def test_a_network_without_weights_has_no_block():
    assert refused(nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1))).startswith("no block found")


def test_a_manager_gives_a_network_that_cannot_be_followed_as_parts():
    class Best(Opaque):
        def forward(self, scores: torch.Tensor) -> torch.Tensor:
            return scores[scores[:, 0].argmax()].unsqueeze(0) if bool((scores > 0).any()) else scores[:1]

    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = around()

        def forward(self, x):
            scores = self.inner(x)
            return scores[scores[:, 0].argmax()] if bool((scores > 0).any()) else scores[0]

    class Parts(nn.Module):
        def __init__(self, teacher):
            super().__init__()
            self.inner, self.best = teacher.inner, Best()

        def forward(self, x):
            return self.best(self.inner(x))

    class Manager(CommonModelManager):
        def network_to_cut(self, teacher_model, model_input_size):
            return Parts(teacher_model)

    torch.manual_seed(0)
    teacher = Teacher().eval()
    assert "top level cannot be traced" in refused(teacher)
    blocks = AutoBlockManager([0.5], teacher, Manager(), SIZE, 0.5)
    composed = compose(blocks.graph, blocks.originals, {})
    for seed in range(6):
        x = images(2, seed=seed)
        with torch.no_grad():
            assert torch.equal(composed(x)[0], teacher(x))
