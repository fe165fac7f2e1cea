"""TorchScript's entry points with types, which some versions of torch lack."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

_jit: Any = torch.jit  # typed in some versions of torch and not in others

TracerWarning: type[Warning] = _jit.TracerWarning
optimized_execution: Callable[[bool], AbstractContextManager[None]] = _jit.optimized_execution
trace: Callable[..., Callable[..., Any]] = _jit.trace
save: Callable[..., None] = _jit.save
load: Callable[..., Any] = _jit.load


def scripted_attributes(module: Any) -> dict[str, Any]:
    """The attributes of a scripted module by name, tensors among them, without those of its submodules."""
    return {name: getattr(module, name) for name in sorted(module._concrete_type.get_attributes())}
