"""The user's network as a copy that can be traced: plain modules, 32-bit weights, no hooks.

What only changes how a network is trained or stored (weight norm as a parametrization, half precision, a wrapper for
several devices) is taken off; what cannot be is refused in a sentence that names the module and the way out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torchvision.ops import FrozenBatchNorm2d

from legodnn.builder.graph.attention import PlainAttention
from legodnn.builder.graph.values import one_line, tensors_in
from legodnn.shared.errors import ModelError


def prepared(model: nn.Module, inputs: Sequence[Tensor]) -> nn.Module:
    """A copy of ``model`` in eval mode without gradients, on the inputs' device, in float32 and plain modules.

    Raises `ModelError` for quantised, scripted or hooked networks, and where it does not run on the inputs.
    """
    _refuse_kinds(model)
    # The output of a module may alias its input, so gradients stay off: they would forbid in-place changes of views.
    model = _unwrapped(copy.deepcopy(model)).eval().requires_grad_(False)
    model = model.to(inputs[0].device)
    for value in [*model.parameters(), *model.buffers()]:
        if value.is_floating_point():
            value.data = value.data.float()
    with torch.no_grad():
        _without_parametrizations(model)
        _without_hooks(model, inputs)
        _in_plain_modules(model)
    return model


def _refuse_kinds(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError("the network is TorchScript, whose inside cannot be changed; give the Python network it was")
    for name, module in model.named_modules():
        if ".quantized" in type(module).__module__ and "torchvision" not in type(module).__module__:
            raise ModelError(
                f"'{name}' ({type(module).__name__}) is quantised; give the network as it was before quantisation"
            )


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch's wrappers (several devices, compilation), wherever in it they are."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            break
        model = inner
    for name, child in model.named_children():
        setattr(model, name, _unwrapped(child))
    return model


def _without_parametrizations(model: nn.Module) -> None:
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)


def _without_hooks(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Hooks that only look are taken off; the network must compute the same without them."""
    hooked = [name for name, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    if not hooked:
        return
    expected = answer(model, inputs)
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    found = answer(model, inputs)
    if len(found) != len(expected) or not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
        raise ModelError(
            f"'{hooked[0] or 'the network'}' has a hook that changes what it computes; write that into the module's "
            "forward instead"
        )


def answer(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors a network returns. Raises `ModelError` where it does not run on the inputs."""
    try:
        return [t.clone() for t in tensors_in(model(*[x.clone() for x in inputs]))]
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ModelError(f"the network does not run on an input of shape {shapes}: {one_line(error)}") from error


def _in_plain_modules(model: nn.Module) -> None:
    """Modules that torch fuses into one operation, or that hide a normalisation, in terms the analysis knows."""
    for name, module in list(model.named_modules()):
        plain = _plain(module)
        if plain is not None and name:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, plain.to(_device_of(module)).eval().requires_grad_(False))


def _device_of(module: nn.Module) -> Any:
    return next(iter([*module.parameters(), *module.buffers()])).device


def _plain(module: nn.Module) -> nn.Module | None:
    if type(module) is nn.MultiheadAttention and PlainAttention.can_replace(module):
        return PlainAttention(module)
    if type(module) is FrozenBatchNorm2d:
        norm = nn.BatchNorm2d(len(module.weight), eps=module.eps)
        norm.load_state_dict(module.state_dict(), strict=False)
        return norm
    return None
