"""Values inside a block while it runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx


class _Capture(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, names: Collection[str]) -> None:
        super().__init__(module)
        self.names = names
        self.found: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.names:
            self.found[n.name] = value
        return value


def capture(module: fx.GraphModule, inputs: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """Run ``module`` on one input and return the values of the named nodes."""
    runner = _Capture(module, names)
    with torch.no_grad():
        runner.run(inputs)
    return runner.found
