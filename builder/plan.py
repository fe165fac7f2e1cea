"""What a build is going to do, in numbers a person can check before any training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class BlockPlan:
    """One block: its layers, and what its smallest descendant has lost; ``flops`` are per inference."""

    name: str
    layers: Sequence[str]
    parameters: int
    flops: int
    removable_parameters: int
    removable_flops: int
    sparsities: Sequence[float]
    reasons: Sequence[str]

    @property
    def removable_share(self) -> float:
        """The share of the block's parameters its smallest descendant has lost."""
        return self.removable_parameters / self.parameters if self.parameters else 0.0

    @property
    def removable_flops_share(self) -> float:
        """The share of the block's operations its smallest descendant has lost."""
        return self.removable_flops / self.flops if self.flops else 0.0


@dataclass(frozen=True)
class Plan:
    """All blocks, the layers that stay as they are, and the network's size."""

    blocks: Sequence[BlockPlan]
    trunk_layers: Sequence[str]
    parameters: int
    flops: int
    reasons: Sequence[str] = field(default_factory=tuple)

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        plain = asdict(self)
        for row, block in zip(plain["blocks"], self.blocks, strict=True):
            row["removable_share"] = block.removable_share
            row["removable_flops_share"] = block.removable_flops_share
        return plain
