"""`AutoBlockManager`: a teacher, its blocks, and how each block's variants are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.graph.channels.rules import own_rules
from legodnn.builder.graph.cuts import NO_CUTS, Cuts
from legodnn.builder.graph.fold import fold_norms
from legodnn.builder.graph.identity import identity
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.segments import SegmentGraph, cut, layers_of
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.graph.values import metadata
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.plan.plan import Plan, make_plan
from legodnn.builder.prune.derive import Descendant, derive
from legodnn.builder.prune.importance import Importance
from legodnn.builder.prune.stored import load_descendant, save_descendant
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.sources import sources_of
from legodnn.builder.workdir.stage import Stage
from legodnn.builder.workdir.versions import versions
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import ModelError, UsageError, is_shortage


def variant_name(sparsity: float) -> str:
    """How a variant is called: ``original`` or ``sparsity=0.6``."""
    return ORIGINAL if sparsity == 0 else f"sparsity={sparsity:g}"


class AutoBlockManager:
    """Cuts a teacher into blocks and derives their descendants.

    Args:
        block_sparsity: sparsities of the variants, each 0 <= s < 1; 0 (the original) is always among the variants.
        teacher_model: the trained network; it is copied, never changed. The network that is cut is the one the model
            manager returns for it (`AbstractModelManager.network_to_cut`).
        model_manager: how this kind of network is run and evaluated.
        model_input_size: shape of the input with the batch dimension, as in ``(1, 3, 224, 224)``; for a network with
            several inputs, which must be of one shape, that shape for each.
        compress_layer_max_ratio: a block holds at most this share of the network's prunable layers.
        device: where descendants are trained and evaluated.
        importance: how channels are ranked, a name of `legodnn.builder.prune.importance.IMPORTANCE` or a function of
            an analysis and a channel group, which returns a score for each prunable set of coupled channels.
        round_to: kept channel counts are multiples of this where that does not undo the pruning; 1 for none.
        cuts: modules to keep whole, to keep dense, or to end blocks at.

    Raises `ModelError` when the network cannot be traced, does not run on the input size or has no block, `UsageError`
    for a sparsity or a ratio out of range and for inputs of different shapes.
    """

    def __init__(
        self,
        block_sparsity: Sequence[float],
        teacher_model: nn.Module,
        model_manager: AbstractModelManager,
        model_input_size: Sequence[int] | Sequence[Sequence[int]],
        compress_layer_max_ratio: float = 0.125,
        device: str | torch.device = "cpu",
        *,
        importance: str | Importance = "l2",
        round_to: int = 8,
        cuts: Cuts = NO_CUTS,
    ) -> None:
        for sparsity in block_sparsity:
            if not 0 <= sparsity < 1:
                raise UsageError(f"sparsity {sparsity} is outside 0 <= s < 1")
        if not 0 < compress_layer_max_ratio <= 1:
            raise UsageError(f"the largest share of layers in a block is {compress_layer_max_ratio}, not in (0, 1]")
        self.sparsities = sorted({float(s) for s in block_sparsity} - {0.0})
        self.model_manager = model_manager
        shapes = _shapes(model_input_size)
        self.input_size = shapes[0]
        self.max_ratio = compress_layer_max_ratio
        self.device = torch.device(device)
        self.importance = importance
        self.round_to = round_to
        self.cuts = cuts
        teacher_model = model_manager.network_to_cut(teacher_model, self.input_size)
        cuts.check(teacher_model)
        # A generator of its own, so that finding blocks draws none of the caller's random numbers.
        generator = torch.Generator().manual_seed(0)
        self.samples = [torch.randn(shape, generator=generator).to(self.device) for shape in shapes]
        self.teacher = trace(teacher_model, self.samples, cuts.whole)
        self.graph: SegmentGraph = cut(self.teacher, compress_layer_max_ratio, cuts)
        if not self.graph.blocks:
            layers = layers_of(self.teacher, self.teacher.graph.nodes)
            remedy = "try a larger max_ratio" if layers else "there is no convolution and no linear layer in it"
            raise ModelError(f"no block found: no channels inside it are prunable ({remedy})")
        self.originals = {s.name: self.graph.module(s) for s in self.graph.segments}
        self.folded = {name: fold_norms(module) for name, module in self.originals.items()}
        self.channels: dict[str, ChannelMap] = {
            b.name: analyse(self.folded[b.name], cuts.dense) for b in self.graph.blocks
        }

    @cached_property
    def layout(self) -> torch.memory_format:
        """The memory format of images while blocks are trained and evaluated: channels last, where the network runs
        so."""
        try:
            with torch.no_grad():
                compose(self.graph, self.folded, {})(*[_channels_last(x) for x in self.samples])
        except RuntimeError as error:
            if is_shortage(error):
                raise
            # A layer kept whole requires contiguous tensors.
            return torch.contiguous_format
        return torch.channels_last

    def arrange(self, value: Tensor) -> Tensor:
        """A tensor in `layout`, where it is a batch of images."""
        return value.contiguous(memory_format=self.layout) if value.dim() == 4 else value

    def arrange_weights(self, modules: Iterable[nn.Module]) -> None:
        """Put the modules' weights of four dimensions into `layout`, in place."""
        for module in modules:
            for parameter in module.parameters():
                parameter.data = self.arrange(parameter.data)

    @property
    def block_names(self) -> list[str]:
        """The blocks, in the order in which they run."""
        return [b.name for b in self.graph.blocks]

    @property
    def descendant_names(self) -> list[str]:
        """The variants every block has beside the original."""
        return [variant_name(s) for s in self.sparsities]

    def sparsity_of(self, variant: str) -> float:
        """The sparsity a variant's name stands for."""
        return {variant_name(s): s for s in [0.0, *self.sparsities]}[variant]

    def layers(self, segment: str) -> list[str]:
        """The teacher's convolutions and linear layers in a segment."""
        return layers_of(self.teacher, next(s for s in self.graph.segments if s.name == segment).nodes)

    def example_inputs(self, segment: str) -> list[Tensor]:
        """Tensors of the shapes and types a segment reads: normal random numbers, and zeros for integers."""
        generator = torch.Generator().manual_seed(0)
        found = next(s for s in self.graph.segments if s.name == segment)
        drawn = [torch.randn(metadata(n).shape, generator=generator) for n in found.inputs]
        kinds = [metadata(n).dtype or torch.float32 for n in found.inputs]
        return [
            (x if kind.is_floating_point else torch.zeros_like(x)).to(self.device, kind)
            for x, kind in zip(drawn, kinds, strict=True)
        ]

    def derive(self, block: str, variant: str) -> Descendant:
        """A fresh, untrained descendant of a block."""
        return derive(
            self.folded[block],
            self.channels[block],
            self.sparsity_of(variant),
            importance=self.importance,
            round_to=self.round_to,
        )

    @cached_property
    def inputs(self) -> dict[str, str]:
        """All that determines the blocks and their channels, by name: the network, the settings, a user's own rules
        and code, and the versions of LegoDNN and torch. Sparsities are not in it."""
        settings: dict[str, Any] = {
            "model.input": [self.input_size] * len(self.samples),
            "blocks.max_ratio": self.max_ratio,
            "blocks.round_to": self.round_to,
            "blocks.importance": self.importance if isinstance(self.importance, str) else self.importance.__qualname__,
            "blocks.whole": self.cuts.whole,
            "blocks.dense": self.cuts.dense,
            "blocks.boundaries": self.cuts.boundaries,
        }
        found = {**versions(), **{name: repr(value) for name, value in settings.items()}, **identity(self.teacher)}
        own: list[tuple[str, Any]] = [("importance", self.importance)] if callable(self.importance) else []
        own += [("channel rules", rule) for rule in own_rules()]
        for what, thing in own:
            found.update({f"code of the {what}: {name}": digest for name, digest in sources_of(thing).items()})
        return found

    def inputs_of(self, variant: str) -> dict[str, str]:
        """All that determines one variant of every block, by name."""
        return {**self.inputs, "blocks.sparsity": repr(self.sparsity_of(variant))}

    def extract_all_blocks(self, compressed_blocks_dir: str | Path) -> None:
        """Make every descendant and write it to ``<dir>/<variant>/<block>.pt``; variants that are there are kept.

        Raises `WorkError` for a directory that cannot be used.
        """
        stages = {variant: self.compressed(compressed_blocks_dir, variant) for variant in self.descendant_names}
        missing = {variant: stage for variant, stage in stages.items() if not stage.done}
        with progress("extract", len(self.block_names) * len(missing), unit="block") as bar:
            for variant, stage in missing.items():
                with stage.making([f"{block}.pt" for block in self.block_names]):
                    for block in self.block_names:
                        path = stage.path(f"{block}.pt")
                        if not path.exists():
                            save_descendant(path, self.derive(block, variant))
                        bar.advance()

    def compressed(self, directory: str | Path, variant: str) -> Stage:
        """The stage of one variant that `extract_all_blocks` makes."""
        return Stage(Path(directory) / variant, self.inputs_of(variant))

    def load(self, stage: Stage, block: str) -> Descendant:
        """A descendant from a stage of its variant. Raises `WorkError` where it is missing."""
        return load_descendant(stage.path(f"{block}.pt"), self.folded[block], self.channels[block])

    def plan(self, groups: bool = False) -> Plan:
        """The blocks, their layers, how much of them is prunable, and why the rest is not; where ``groups``, which
        channels are coupled as well."""
        return make_plan(self, groups)


def _shapes(size: Sequence[Any]) -> list[tuple[int, ...]]:
    shapes = [tuple(s) for s in size] if size and not isinstance(size[0], int) else [tuple(size)]
    if not shapes or len(set(shapes)) > 1:
        raise UsageError(f"inputs of different shapes, {', '.join(map(str, shapes))}: they must be of one shape")
    return shapes


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
