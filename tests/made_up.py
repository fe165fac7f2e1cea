"""Made-up networks: manifests and latencies with any numbers, without weights or programs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from legodnn.runtime.device.latency_table import LatencyTable
from legodnn.runtime.device.memory_table import MemoryTable
from legodnn.shared.bundle.manifest import (
    BLOCK,
    ORIGINAL,
    TRUNK,
    Archive,
    InputSpec,
    Manifest,
    Predictor,
    Segment,
    SelfTest,
    TensorSpec,
    Variant,
)

Numbers = tuple[float, float, int, int]
"""Cost, seconds, bytes of weights, bytes of activations."""

CURVE = ((0.0, 0.0), (0.1, 0.01), (0.3, 0.04), (1.0, 0.5))


@dataclass
class MadeUpNetwork:
    """What an optimiser needs of a network; it remembers what was selected, and can be made to refuse."""

    manifest: Manifest
    latency: LatencyTable | None
    refuses: bool = False
    history: list[dict[str, str]] = field(default_factory=list)
    memory: MemoryTable | None = None

    @property
    def selection(self) -> dict[str, str]:
        """What runs now."""
        return self.history[-1] if self.history else self.manifest.original_selection

    @property
    def loaded(self) -> list[dict[str, str]]:
        """What runs."""
        return self.history[-1:]

    def usable_variants(self, block: str) -> tuple[str, ...]:
        """All of them."""
        return tuple(v.name for v in self.manifest.segment(block).variants)

    def bound_kept(self, memory_bytes: float | None) -> None:
        """It keeps nothing."""

    def select(self, selection: dict[str, str]) -> None:
        """Switch."""
        if self.refuses and selection != self.selection:
            raise RuntimeError("refused")
        self.history.append(dict(selection))


def variant(name: str, numbers: Numbers) -> Variant:
    """A variant with these numbers."""
    cost, _, size, peak = numbers
    return Variant(name, 0.0, Archive(0, 1, ()), size, peak, 0, size // 4, cost, cost)


def network(
    blocks: Sequence[Sequence[Numbers]],
    *,
    base: float = 5e-5,
    trunk: tuple[int, int] = (200, 300),
    curve: Sequence[tuple[float, float]] = CURVE,
    teacher_accuracy: float = 0.9,
    measured: bool = True,
) -> MadeUpNetwork:
    """A network with these variants, the first of each block the original, behind a trunk of (weights, activations)."""
    segments = [Segment("stem", TRUNK, ("v0",), ("v1",), (variant(ORIGINAL, (0.0, 0.0, *trunk)),), ())]
    table: dict[str, dict[str, float]] = {}
    for i, rows in enumerate(blocks):
        names = [ORIGINAL, *(f"v{j}" for j in range(1, len(rows)))]
        variants = tuple(variant(name, numbers) for name, numbers in zip(names, rows, strict=True))
        segments.append(Segment(f"block{i}", BLOCK, (f"v{i + 1}",), (f"v{i + 2}",), variants, ()))
        table[f"block{i}"] = {name: numbers[1] for name, numbers in zip(names, rows, strict=True)}
    manifest = Manifest(
        task="image classification",
        metric="top-1 accuracy",
        created_with={},
        input=InputSpec((1, 3, 8, 8), "float32", "NCHW", None, None, ()),
        network_inputs=("v0",),
        network_outputs=(f"v{len(blocks) + 1}",),
        segments=tuple(segments),
        predictor=Predictor(teacher_accuracy, tuple(curve), 0.01, 0.02, 12),
        self_test=SelfTest((), TensorSpec("input", (1, 3, 8, 8), "float32"), (), (), (), 1e-4),
        precision="fp32",
        notes=(),
        blobs=(),
    )
    return MadeUpNetwork(manifest, LatencyTable(base, table, 0.0, 0.0, 0.0, 0.0, 1) if measured else None)


def realistic(generator: random.Random, blocks: int = 10, variants: int = 5) -> MadeUpNetwork:
    """A network whose numbers behave as measured ones do.

    Weights fall about quadratically with the channels kept, seconds less than that and with noise, costs rise ever
    faster; peaks of activations differ little; the curve is one of those the builder fits, bending either way.
    """
    rows = []
    for i in range(blocks):
        weights, seconds = generator.uniform(0.5, 8) * 1e6, generator.uniform(0.3, 3) * 1e-3
        hurts, input_bytes = generator.uniform(0.2, 3), generator.uniform(2, 8) * 1e6 / (1 + i)
        row = []
        for j in range(variants):
            kept = 1 - 0.8 * j / max(1, variants - 1)
            cost = hurts * (1 - kept) ** 2 * generator.uniform(0.7, 1.3) * 0.05
            time = seconds * (0.2 + 0.8 * kept) * generator.uniform(0.95, 1.05)
            row.append((cost, time, int(weights * kept * (0.3 + 0.7 * kept)), int(input_bytes * (1 + 2 * kept))))
        rows.append(row)
    worst = sum(max(cost for cost, *_ in row) for row in rows)
    share = generator.random()
    knots = [worst * (i / 32) ** 2 for i in range(33)]
    curve = [(x, 0.3 * (share * (x / worst) ** 0.5 + (1 - share) * (x / worst) ** 2)) for x in knots]
    return network(rows, base=2e-4, trunk=(200_000, 3_000_000), curve=curve, teacher_accuracy=0.92)
