"""The user's network as a copy that can be traced: plain modules, 32-bit weights, no hooks.

What only changes how a network is trained or stored (weight norm as a parametrization, half precision, a wrapper for
several devices) is removed; what cannot be is refused in a sentence that names the module and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torchvision.ops import FrozenBatchNorm2d

from legodnn.builder.graph.tracing.attention import PlainAttention
from legodnn.builder.graph.tracing.copies import copied, untied
from legodnn.builder.graph.tracing.refusals import answer, named, refuse_inputs, refuse_kinds
from legodnn.shared.errors import ModelError


def prepared(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[nn.Module, dict[str, str]]:
    """A copy of ``model`` in eval mode without gradients, on the inputs' device, in float32 and plain modules; and what
    `untied` returns for it.

    Raises `ModelError` for networks that are not supported (see `legodnn.builder.graph.tracing.refusals`) and for hooks
    that change what is computed.
    """
    refuse_kinds(model)
    # The output of a module may alias its input, so gradients are off: they would forbid in-place changes of views.
    model = _unwrapped(copied(model)).eval().requires_grad_(False)
    refuse_inputs(model, inputs)
    _register_tensors(model)
    model = model.to(inputs[0].device)
    for value in [*model.parameters(), *model.buffers()]:
        if value.is_floating_point():
            value.data = value.data.float()
    with torch.no_grad():
        _without_parametrizations(model)
        _without_hooks(model, inputs)
        tied = untied(model)
        _in_plain_modules(model)
    return model, tied


def _register_tensors(model: nn.Module) -> None:
    """Tensors kept as plain attributes (anchors made by an earlier run, say) become buffers, which can be followed."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not hasattr(type(module), name):
                delattr(module, name)
                module.register_buffer(name, value, persistent=False)


def _unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch's wrappers (several devices, compilation), wherever in it they are."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            break
        model = inner
    if not isinstance(model, torch.jit.ScriptModule):
        for name, child in model.named_children():
            setattr(model, name, _unwrapped(child))
    return model


def _without_parametrizations(model: nn.Module) -> None:
    for module in list(model.modules()):
        parametrized = getattr(module, "parametrizations", None)
        if isinstance(parametrized, nn.ModuleDict):
            for name in list(parametrized):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def _without_hooks(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Remove all hooks. Raises `ModelError` where the network computes something else without one."""
    for module in model.modules():
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    hooked = {name: m for name, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks}
    if not hooked:
        return
    expected = answer(model, inputs)
    for name, module in hooked.items():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        found = answer(model, inputs)
        if len(found) != len(expected) or not all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)):
            raise ModelError(
                f"{named(name, module)} has a hook that changes what it computes; write that into the module's forward "
                "instead"
            )


def _in_plain_modules(model: nn.Module) -> None:
    """Replace modules that torch fuses into one operation, or that hide a normalisation, by ones the analysis knows."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # else it reads weights of attention that is no longer there
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
        norm = nn.BatchNorm2d(len(cast(Tensor, module.weight)), eps=cast(float, module.eps))
        norm.load_state_dict(module.state_dict(), strict=False)
        return norm
    return None
