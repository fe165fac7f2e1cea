"""`Figures`: the figures of a network's variants, and their exact sums over selections."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from legodnn.runtime.device.memory_table import MemoryTable
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.choice import Choice
from legodnn.runtime.optimizer.power import Power
from legodnn.shared.bundle.manifest import ORIGINAL, Variant
from legodnn.shared.tasks.prediction import prediction_error

Selection = Dict[str, str]


@dataclass(frozen=True)
class Option:
    """A variant of a block: its cost, seconds (0 where not measured), and bytes of weights and of activations.

    Where the network's memory was measured, weights are counted by the memory table.
    """

    variant: str
    cost: float
    seconds: float
    weight_bytes: int
    peak_bytes: int


Measure = Callable[[Option], Any]


class Figures:
    """A snapshot of a network's figures; its tables may be measured again at any time.

    ``blocks`` lists the usable options of every block, the original first; ``base_seconds``, ``trunk_bytes``,
    ``trunk_peak`` and ``trunk_cost`` are common to all selections. Without ``count_activations`` peaks are 0 and memory
    is the weights of the manifest, as in the paper. Raises `CompositionError` where no option of a block works.
    """

    def __init__(self, network: Network, count_activations: bool) -> None:
        self.manifest, self.table = network.manifest, network.latency
        trunk = [s.original for s in self.manifest.segments if not s.is_block]
        self.base_seconds = self.table.base if self.table is not None else 0.0
        memory = network.memory if count_activations else None
        self.trunk_bytes = sum(_weights(v, memory) for v in trunk) + (memory.base if memory is not None else 0)
        self.trunk_peak = max((v.activation_bytes for v in trunk), default=0) if count_activations else 0
        self.trunk_cost = sum(v.cost for v in trunk)
        self.blocks: List[Tuple[str, Tuple[Option, ...]]] = []
        self._options: Dict[Tuple[str, str], Option] = {}
        for block in self.manifest.blocks:
            seconds = self.table.variants[block.name] if self.table is not None else {}
            options = [
                Option(v.name, v.cost, seconds.get(v.name, 0.0), _weights(v, memory), peak)
                for v in block.variants
                for peak in [v.activation_bytes * count_activations]
            ]
            self._options.update({(block.name, o.variant): o for o in options})
            usable = network.usable_variants(block.name)
            options = [o for o in options if o.variant in usable]
            self.blocks.append((block.name, tuple(sorted(options, key=lambda o: o.variant != ORIGINAL))))

    @property
    def measured(self) -> bool:
        """Whether seconds are known."""
        return self.table is not None

    def same_as(self, other: "Figures") -> bool:
        """Whether both have equal figures."""
        trunks = [(f.base_seconds, f.trunk_bytes, f.trunk_peak, f.trunk_cost) for f in (self, other)]
        return self.blocks == other.blocks and trunks[0] == trunks[1]

    # ---- exact sums -------------------------------------------------------------------------------------------------
    def chosen(self, selection: Mapping[str, str]) -> List[Option]:
        """The options of a selection, block by block."""
        return [self._options[name, selection[name]] for name, _ in self.blocks]

    def seconds(self, selection: Mapping[str, str]) -> Fraction:
        """Seconds per inference."""
        return Fraction(self.base_seconds) + exact_sum(o.seconds for o in self.chosen(selection))

    def bytes(self, selection: Mapping[str, str]) -> int:
        """Bytes of weights plus the largest activation peak."""
        options = self.chosen(selection)
        weights = self.trunk_bytes + sum(o.weight_bytes for o in options)
        return weights + max([self.trunk_peak, *(o.peak_bytes for o in options)])

    def cost(self, selection: Mapping[str, str]) -> Fraction:
        """The sum of costs that the predictor reads."""
        return Fraction(self.trunk_cost) + exact_sum(o.cost for o in self.chosen(selection))

    def accuracy(self, selection: Mapping[str, str]) -> float:
        """The predicted accuracy."""
        return self.manifest.predicted_accuracy(selection)

    def choice(self, selection: Selection, within_budget: bool, power: Optional[Power]) -> Choice:
        """All predictions about a selection."""
        seconds = rounded_up(self.seconds(selection)) if self.measured else None
        manifest, accuracy = self.manifest, self.accuracy(selection)
        return Choice(
            selection=selection,
            seconds=seconds,
            memory_bytes=self.bytes(selection),
            accuracy=accuracy,
            accuracy_error=prediction_error(manifest.predictor, manifest.task, manifest.metric, accuracy),
            within_budget=within_budget,
            joules=power.joules(seconds) if power is not None and seconds is not None else None,
        )

    # ---- extremes ---------------------------------------------------------------------------------------------------
    def least(self, measure: Measure) -> Selection:
        """In every block the option with the least measure; the first of equals, so the original before others."""
        return {name: min(options, key=measure).variant for name, options in self.blocks}

    def most(self, measure: Measure) -> float:
        """The sum over blocks of the largest measure of an option."""
        return float(sum(max(measure(o) for o in options) for _, options in self.blocks))

    def most_bytes(self) -> int:
        """Bytes that no selection exceeds."""
        peaks = [o.peak_bytes for _, options in self.blocks for o in options]
        return self.trunk_bytes + int(self.most(lambda o: o.weight_bytes)) + max([self.trunk_peak, *peaks])

    def fastest(self) -> Selection:
        """The selection with the least seconds."""
        return self.least(lambda o: (o.seconds, o.cost))

    def lowest_peak(self) -> int:
        """The least activation peak of any selection, in bytes."""
        return max([self.trunk_peak, *(min(o.peak_bytes for o in options) for _, options in self.blocks)])

    def smallest(self) -> Selection:
        """The selection with the least bytes."""
        lowest = self.lowest_peak()
        peaks = {max(lowest, o.peak_bytes) for _, options in self.blocks for o in options} or {lowest}
        return min((self._smallest_within(peak) for peak in sorted(peaks)), key=self.bytes)

    def _smallest_within(self, peak: int) -> Selection:
        return self.least(lambda o: (o.peak_bytes > peak, o.weight_bytes, o.cost))


def _weights(variant: Variant, memory: Optional[MemoryTable]) -> int:
    return memory.weights(variant) if memory is not None else variant.weight_bytes


def exact_sum(values: Iterable[float]) -> Fraction:
    """The sum of floating-point numbers without rounding."""
    return sum((Fraction(v) for v in values), Fraction(0))


def rounded_up(value: Fraction) -> float:
    """The value as a float that is not below it, so that a prediction given as a budget is met."""
    near = float(value)
    return near if near >= value else near * (1 + sys.float_info.epsilon)
