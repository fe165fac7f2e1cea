"""A small network run with a backend, so that torch's and oneDNN's own code is in memory before it is measured."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from legodnn.runtime.engine.backend import Backend
from legodnn.runtime.engine.backends.known import ENGINES
from legodnn.runtime.engine.composer import warmed_up
from legodnn.runtime.engine.joining import quiet
from legodnn.runtime.engine.loading import Part, graph_of

_jit: Any = torch.jit  # typed in some versions of torch and not in others


class _Small(nn.Module):
    """One of each layer that most networks consist of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise, self.wider = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 32, 1, stride=2)
        self.scores = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of images."""
        x = functional.max_pool2d(torch.relu(self.stem(x)), 2, 2)
        x = torch.relu(self.inner(x) + x)
        x = torch.relu(self.wider(functional.hardtanh(self.depthwise(x), 0.0, 6.0)))
        scores: Tensor = self.scores(x.mean((2, 3)))
        return scores


def touch(backend: Backend) -> None:
    """Load, lower and run the small network. Raises `CompositionError`, `RuntimeError`."""
    archive, x = io.BytesIO(), torch.rand(1, 3, 32, 32)
    engine = ENGINES[backend.engine]
    with quiet():
        _jit.save(_jit.trace(_Small().eval(), x, check_trace=False), archive)
        archive.seek(0)
        graph = graph_of(_jit.load(archive), backend)
        x = x.contiguous(memory_format=backend.memory_format)
        Part(graph)(x)
        if engine.pack is not None:
            graph = engine.pack(graph, [x])
        warmed_up(graph, backend, [x])
