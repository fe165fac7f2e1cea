"""`Manifest`: the description of a network in a bundle, as frozen dataclasses.

    Manifest ── InputSpec, TensorSpec      shapes and types of inputs and outputs
             ├─ AnswerSpec                 meaning of the outputs
             ├─ Segment ── Variant ── Archive ── StorageSpec
             ├─ Predictor                  sum of costs -> accuracy
             ├─ SelfTest ── SelfTestCase   sample inputs with expected outputs
             └─ BlobEntry                  positions of blobs in the file

Accuracies are fractions, sizes bytes, times seconds. ``check`` methods verify what types cannot express.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Optional, Sequence, Set, Tuple

from legodnn.shared.bundle.self_test import SelfTest, SelfTestCase
from legodnn.shared.bundle.specs import DTYPES, InputSpec, Plain, TensorSpec, require
from legodnn.shared.errors import BundleError, SelectionError

__all__ = [
    "BLOCK",
    "DTYPES",
    "ORIGINAL",
    "TRUNK",
    "AnswerSpec",
    "Archive",
    "BlobEntry",
    "InputSpec",
    "Manifest",
    "Predictor",
    "Segment",
    "SelfTest",
    "SelfTestCase",
    "StorageSpec",
    "TensorSpec",
    "Variant",
    "selection_text",
]

ORIGINAL = "original"
"""The variant every block has: the teacher's own."""

BLOCK, TRUNK = "block", "trunk"

@dataclass(frozen=True)
class AnswerSpec(Plain):
    """The meaning of outputs beside the input's labels: pairs of joined keypoints, and the score above which an input
    is
    abnormal."""

    skeleton: Tuple[Tuple[int, int], ...] = ()
    threshold: Optional[float] = None


@dataclass(frozen=True)
class StorageSpec(Plain):
    """One storage of an archive: its path, element type and count, and the element type in the file."""

    path: str
    dtype: str
    count: int
    stored: str

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES and self.stored in DTYPES, f"storage {self.path}: dtype not known")
        halved = (self.dtype, self.stored) == ("float32", "float16")
        require(self.stored == self.dtype or halved, f"storage {self.path}: {self.stored} cannot become {self.dtype}")
        require(0 <= self.count < 2**40, f"storage {self.path}: {self.count} elements")

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file, before compression."""
        return self.count * DTYPES[self.stored]


@dataclass(frozen=True)
class Archive(Plain):
    """A TorchScript archive in two blobs: the program, and the tensors it computes with."""

    program: int
    tensors: int
    storages: Tuple[StorageSpec, ...]


@dataclass(frozen=True)
class Variant(Plain):
    """One implementation of a segment.

    ``accuracy_loss`` is the teacher's loss of accuracy with this variant alone (may be negative), ``cost`` its
    distortion, whose sum the predictor takes, ``activation_bytes`` the peak while the segment runs, ``flops`` those of
    one inference.
    """

    name: str
    sparsity: float
    archive: Archive
    weight_bytes: int
    activation_bytes: int
    flops: int
    parameters: int
    accuracy_loss: float
    cost: float

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, f"variant {self.name}: sparsity {self.sparsity}")
        counts = (self.weight_bytes, self.activation_bytes, self.flops, self.parameters)
        require(min(counts) >= 0 and max(counts) < 2**60, f"variant {self.name}: impossible counts")
        require(self.cost >= 0, f"variant {self.name}: negative cost")


@dataclass(frozen=True)
class Segment(Plain):
    """A piece of the network: names of its inputs and outputs, its variants, the teacher's layers in it."""

    name: str
    kind: str
    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    variants: Tuple[Variant, ...]
    layers: Tuple[str, ...]

    def __post_init__(self) -> None:
        require(self.kind in (BLOCK, TRUNK), f"segment {self.name}: kind '{self.kind}'")
        names = [v.name for v in self.variants]
        require(len(set(names)) == len(names), f"segment {self.name}: a variant twice")
        require(ORIGINAL in names, f"segment {self.name}: no variant '{ORIGINAL}'")
        require(self.kind == BLOCK or len(names) == 1, f"segment {self.name}: a trunk with variants")
        single = len(self.inputs) == 1 and len(self.outputs) == 1
        require(self.kind == TRUNK or single, f"segment {self.name}: a block has one tensor in and one out")

    @property
    def is_block(self) -> bool:
        """Whether a selection names a variant for this segment."""
        return self.kind == BLOCK

    @property
    def original(self) -> Variant:
        """The teacher's own variant."""
        return self.variant(ORIGINAL)

    def variant(self, name: str) -> Variant:
        """The variant of this name. Raises `SelectionError` naming the variants."""
        for candidate in self.variants:
            if candidate.name == name:
                return candidate
        raise SelectionError(f"{self.name} has no variant '{name}', only {', '.join(v.name for v in self.variants)}")


@dataclass(frozen=True)
class Predictor(Plain):
    """Predicts the accuracy of a selection from the sum of its variants' costs.

    ``curve`` lists (sum of costs, accuracy loss), neither ever falling; it is linear between knots and beyond the ends.
    The errors are mean and largest absolute ones on compositions that the curve was not fitted to; accuracies were
    measured on ``judged`` inputs, 0 where that is not known.
    """

    teacher_accuracy: float
    curve: Tuple[Tuple[float, float], ...]
    mean_error: float
    worst_error: float
    compositions: int
    judged: int = 0

    def __post_init__(self) -> None:
        require(len(self.curve) >= 1, "predictor: an empty curve")
        require(0 <= self.judged < 2**60, f"predictor: judged on {self.judged} inputs")
        pairs = list(zip(self.curve, self.curve[1:]))
        require(all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairs), "predictor: the curve falls")

    def accuracy(self, cost: float) -> float:
        """The accuracy expected at a sum of costs, in [0, 1]."""
        return min(1.0, max(0.0, self.teacher_accuracy - self._loss(cost)))

    def _loss(self, cost: float) -> float:
        knots = [c for c, _ in self.curve]
        if len(knots) == 1:
            return self.curve[0][1]
        right = min(max(1, bisect.bisect_left(knots, cost)), len(knots) - 1)
        (x0, y0), (x1, y1) = self.curve[right - 1], self.curve[right]
        if x1 == x0:  # a step at one end of the curve
            return y1 if cost > x1 else y0
        return y0 + (y1 - y0) * (cost - x0) / (x1 - x0)


@dataclass(frozen=True)
class BlobEntry(Plain):
    """A blob's offset after the manifest, stored and unpacked length, codec (``raw``, ``zstd``), SHA-256 as stored."""

    offset: int
    length: int
    raw_length: int
    codec: str
    sha256: bytes

    def __post_init__(self) -> None:
        require(min(self.offset, self.length, self.raw_length) >= 0, "a blob with a negative size")
        require(self.codec in ("raw", "zstd"), f"codec '{self.codec}' is not known")
        require(self.codec == "zstd" or self.length == self.raw_length, "a raw blob with two lengths")
        require(len(self.sha256) == 32, "a hash that is not a SHA-256")


@dataclass(frozen=True)
class Manifest(Plain):
    """Everything about the network but its weights and programs."""

    task: str
    metric: str
    created_with: Dict[str, str]
    input: InputSpec
    network_inputs: Tuple[str, ...]
    network_outputs: Tuple[str, ...]
    segments: Tuple[Segment, ...]
    predictor: Predictor
    self_test: SelfTest
    precision: str
    notes: Tuple[str, ...]
    blobs: Tuple[BlobEntry, ...]
    answer: AnswerSpec = AnswerSpec()

    @property
    def blocks(self) -> Tuple[Segment, ...]:
        """The segments that have variants, in order."""
        return tuple(s for s in self.segments if s.is_block)

    @property
    def teacher_weight_bytes(self) -> int:
        """Bytes of the teacher's weights."""
        return sum(s.original.weight_bytes for s in self.segments)

    @property
    def original_selection(self) -> Dict[str, str]:
        """The selection that is the teacher."""
        return {block.name: ORIGINAL for block in self.blocks}

    def segment(self, name: str) -> Segment:
        """The segment of this name. Raises `SelectionError` naming the segments."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        raise SelectionError(f"no segment '{name}', only {', '.join(s.name for s in self.segments)}")

    def chosen(self, selection: Mapping[str, str]) -> Tuple[Variant, ...]:
        """The variant of every segment, in order. Raises `SelectionError` unless exactly the blocks are named."""
        names = [b.name for b in self.blocks]
        for name in selection:
            if name not in names:
                raise SelectionError(f"no block '{name}', only {', '.join(names)}")
        for name in names:
            if name not in selection:
                raise SelectionError(f"the selection names no variant for {name}")
        return tuple(s.variant(selection[s.name]) if s.is_block else s.original for s in self.segments)

    def predicted_accuracy(self, selection: Mapping[str, str]) -> float:
        """The predicted accuracy of a selection."""
        return self.predictor.accuracy(sum(v.cost for v in self.chosen(selection)))

    def check(self) -> None:
        """Verify references between parts: wiring, blob numbers, self-test. Raises `BundleError`."""
        names = [s.name for s in self.segments]
        require(len(set(names)) == len(names), "two segments of the same name")
        require(len(self.network_inputs) >= 1 and len(self.network_outputs) >= 1, "a network without input or output")
        self._check_wiring()
        self._check_blobs()
        for case in self.self_test.cases:
            try:
                self.chosen(case.selection)
            except SelectionError as error:
                raise BundleError(f"self-test: {error}") from None

    def _check_wiring(self) -> None:
        known: Set[str] = set(self.network_inputs)
        require(len(known) == len(self.network_inputs), "an input twice")
        for segment in self.segments:
            for name in segment.inputs:
                require(name in known, f"segment {segment.name} reads '{name}' before anything makes it")
            for name in segment.outputs:
                require(name not in known, f"segment {segment.name} makes '{name}' a second time")
                known.add(name)
        for name in self.network_outputs:
            require(name in known, f"nothing makes the output '{name}'")

    def _check_blobs(self) -> None:
        archives = [v.archive for s in self.segments for v in s.variants]
        self.self_test.check(len(self.network_inputs), self.input)
        samples = list(self.self_test.blobs())
        used: Set[int] = {blob for blob, _, _ in samples}
        used.update(n for a in archives for n in (a.program, a.tensors))
        require(used == set(range(len(self.blobs))), "blobs that nothing uses, or that do not exist")
        for archive in archives:
            self._check_length(archive.tensors, (s.stored_bytes for s in archive.storages), "tensors")
        for blob, length, what in samples:
            self._check_length(blob, [length], what)

    def _check_length(self, blob: int, parts: Iterable[int], what: str) -> None:
        total = sum(parts)
        found = self.blobs[blob].raw_length
        require(found == total, f"blob {blob} ({what}) holds {found} bytes where its tables say {total}")


def selection_text(manifest: Manifest, selection: Mapping[str, str]) -> str:
    """A selection in one line: the sparsity of each block in percent, ``0`` for the original."""
    values: Sequence[Variant] = [manifest.segment(b.name).variant(selection[b.name]) for b in manifest.blocks]
    return " ".join(f"{100 * v.sparsity:.0f}" for v in values)
