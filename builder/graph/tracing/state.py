"""Networks that change their own attributes while they run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn


@contextlib.contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Undo at the end of the context whatever the network sets on its modules: counters, caches, buffers.

    A cache filled by one run would be a constant to the next, and one filled while tracing would hold proxies.
    """
    modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    attributes = [(vars(m), dict(vars(m))) for m in modules]
    kept = [value for _, before in attributes for value in before.values()]
    containers = [(c, c.copy()) for c in kept if isinstance(c, (dict, list, set))]
    buffers = [(b, b._version, b.detach().clone()) for b in model.buffers()]
    try:
        yield
    finally:
        for now, before in attributes:
            now.clear()
            now.update(before)
        for container, content in containers:
            _refill(container, content)
        with torch.no_grad():
            for buffer, version, value in buffers:
                # Batch normalisation in training mode updates its statistics without counting a version.
                if buffer._version != version or not (buffer.is_meta or torch.equal(buffer, value)):
                    buffer.copy_(value)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)
