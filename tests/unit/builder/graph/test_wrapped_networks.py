"""What is wrapped around a network, goes in and comes out: it works, or one sentence says why not and what to do."""

import threading
import types

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from legodnn.builder.graph.run import compose
from tests import odd_inputs
from tests import odd_networks as odd
from tests.networks import conv, images
from tests.whole_way import SIZE, around, check, layers, refused, seeded


# ---- what is wrapped around a network -----------------------------------------------------------------------------
def test_hooks_that_look_are_taken_off():
    seen = []

    def make():
        model = around()
        model.after[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        model.register_forward_pre_hook(lambda module, inputs: None)
        model.head.register_full_backward_hook(lambda *args: None)
        return model

    check(make)
    assert seen


@pytest.mark.parametrize("kind", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_that_changes_something_is_refused_by_its_modules_name(kind):
    model = around()
    model.before[0].register_forward_hook(lambda module, inputs, output: None)
    getattr(model.after[0], kind)(lambda module, inputs, *output: output[0] * 2 if output else (inputs[0] * 2,))
    assert refused(model).startswith("'after.0' (Conv2d) has a hook that changes what it computes; write that into")


def test_compiled_networks_and_modules_are_unwrapped():
    def make():
        model = around(lambda: torch.compile(conv(8, 8)))
        model.after.compile()
        return torch.compile(model)

    assert "odd" in layers(check(make, teacher=lambda: around(lambda: conv(8, 8))))


def test_a_network_for_several_devices_is_unwrapped():
    check(lambda: nn.DataParallel(around()), teacher=around)


def test_a_network_of_torch_fx_works():
    check(lambda: torch.fx.symbolic_trace(around()), teacher=around)


def test_a_scripted_network_is_refused():
    message = refused(torch.jit.script(around()))
    assert message == "the network is TorchScript, whose inside cannot be changed; give the Python network it was"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_scripted_module_is_kept_whole_and_pruned_around(dtype):
    def make():
        part = nn.Sequential(conv(8, 8), nn.ReLU(inplace=True))
        return around(lambda: torch.jit.script(part)).to(dtype)

    torch.manual_seed(0)
    state = make().odd.state_dict()

    def fixed():
        model = make()
        model.odd.load_state_dict(state)
        return model

    assert {"before.0", "after.0"} <= layers(check(fixed, teacher=lambda: fixed().float()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["dynamic", "aware"])
def test_quantised_networks_are_refused(how):
    model = around()
    if how == "dynamic":
        model = torch.ao.quantization.quantize_dynamic(model)
        assert refused(model) == "'head' (Linear) is quantised, or ready to be; give the network as it was before"
    else:
        model.train().qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
        torch.ao.quantization.prepare_qat(model, inplace=True)(images())
        assert refused(model).startswith("'before.0' (Conv2d) is quantised, or ready to be")


def test_a_network_that_may_be_quantised_some_day_works():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = conv(8, 12), conv(12, 8)
            self.quant, self.plus = torch.ao.quantization.QuantStub(), torch.ao.nn.quantized.FloatFunctional()

        def forward(self, x):
            return self.plus.add(self.second(F.relu(self.first(self.quant(x)))), x)

    check(lambda: around(Part))


def test_a_forward_put_in_place_of_a_layers_own_is_what_counts():
    def make():
        model = around(lambda: conv(8, 8))
        flipped = types.MethodType(lambda self, x: F.conv2d(x, self.weight.flip(0), self.bias, padding=1), model.odd)
        model.odd.forward = flipped
        return model

    check(make)


def test_synchronised_normalisation_and_its_function_on_vectors_are_followed():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.norm = conv(8, 12), conv(12, 8), nn.SyncBatchNorm(12)

        def forward(self, x):
            x, norm = self.norm(self.first(x)), self.norm
            scale = F.batch_norm(x.mean((2, 3)), norm.running_mean, norm.running_var, norm.weight, norm.bias)
            return self.second(x * scale[:, :, None, None])

    assert {"odd.first", "odd.second"} <= layers(check(lambda: around(Part)))


def test_what_cannot_be_copied_is_shared_or_named():
    def make():
        model = around(odd.Base)
        model.odd.lock = threading.Lock()
        return model

    check(make)
    model = around()
    model.odd.lock = threading.Lock()
    assert refused(model) == "'odd' (Identity) has an attribute 'lock' that cannot be copied; set it to None"


# ---- outputs and inputs -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", odd_inputs.OUTPUTS)
def test_tensors_come_back_in_containers(kind):
    blocks = check(lambda: seeded(lambda: odd_inputs.Returns(kind)))
    found = compose(blocks.graph, blocks.originals, {})(*blocks.samples)
    if kind in ("dict", "ordered", "dataclass", "none"):
        assert list(found)[:2] == ["logits", "features"]
        assert found.get("loss") is None


def test_an_object_of_the_networks_own_is_refused():
    class Top(odd.Around):
        def forward(self, x):
            return types.SimpleNamespace(logits=super().forward(x))

    assert "it passes on something of kind 'SimpleNamespace'; use tensors, alone or in" in refused(Top(nn.Identity()))


@pytest.mark.parametrize("kind", [odd_inputs.Takes, odd_inputs.TakesAny])
def test_several_inputs_and_options_with_defaults_work(kind):
    check(lambda: seeded(kind), [SIZE, SIZE])


@pytest.mark.parametrize(("model", "size", "message"), [
    (odd_inputs.TakesList, SIZE, "the network's 'images' is a list and not a tensor; wrap the network in a"),
    (odd_inputs.TakesList, [SIZE, SIZE], "the network's forward takes (images) and 2 input sizes are given; wrap"),
    (odd_inputs.Takes, SIZE, "the network's forward takes (x, y) and 1 input sizes are given; give one for each"),
    (around, (2, 5, 8, 8), "the network does not run on an input of shape (2, 5, 8, 8): in 'before.0' (Conv2d), Given"),
    (around, (0, 3, 8, 8), "an input of shape (0, 3, 8, 8) holds no numbers; give sizes of 1 and more"),
    (around, (2, 3, 0, 8), "an input of shape (2, 3, 0, 8) holds no numbers; give sizes of 1 and more"),
])  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(model, size, message):
    assert refused(model(), size).startswith(message)
