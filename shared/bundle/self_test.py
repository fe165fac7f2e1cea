"""`SelfTest`: sample inputs with expected outputs, the samples as tensors or as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, Optional, Tuple

from legodnn.shared.bundle.specs import DTYPES, InputSpec, Plain, TensorSpec, require

MAX_SAMPLES = 4096
"""The most samples as pixels: bounds what a device unpacks. Not tuned; 8 are usual."""

PIXEL_CHANNELS = 3
"""Red, green and blue, a byte each, also for networks that take gray pictures."""

_LAYOUTS = ("NCHW", "NTCHW", "NCTHW")
_FLOATING = ("float32", "float64", "float16", "bfloat16")


def pixel_shape(spec: InputSpec) -> Optional[Tuple[int, ...]]:
    """The shape of one sample as pixels, (height, width, 3) or of a clip (frames, height, width, 3); None for a network
    whose input is neither a picture of one or three channels nor a clip of such."""
    if spec.layout not in _LAYOUTS or len(spec.shape) != len(spec.layout) or spec.dtype not in _FLOATING:
        return None
    sizes = dict(zip(spec.layout, spec.shape))
    if sizes["C"] not in (1, PIXEL_CHANNELS):
        return None
    return (*(sizes[axis] for axis in "THW" if axis in sizes), PIXEL_CHANNELS)


@dataclass(frozen=True)
class SelfTestCase(Plain):
    """A selection and the blobs of its expected outputs."""

    selection: Dict[str, str]
    outputs: Tuple[int, ...]


@dataclass(frozen=True)
class SelfTest(Plain):
    """Samples, their labels, and expected outputs of some selections; ``tolerance`` is the largest relative error.

    Samples are tensors (``inputs``, a blob per input of the network) or pixels before normalisation (``pixels``, one
    blob); ``input_spec`` is their shape and type either way. Without either there are no samples, and nothing to
    compare with. Expected outputs hold every k-th element of the flattened output, k from ``steps`` (empty: all).
    """

    inputs: Tuple[int, ...]
    input_spec: TensorSpec
    labels: Tuple[int, ...]
    output_specs: Tuple[TensorSpec, ...]
    cases: Tuple[SelfTestCase, ...]
    tolerance: float
    pixels: Optional[int] = None
    steps: Tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(all(step >= 1 for step in self.steps), f"steps {list(self.steps)}, of which each is at least 1")
        require(len(self.steps) in (0, len(self.output_specs)), "steps for another number of outputs")

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self.input_spec.shape[0] if self.inputs or self.pixels is not None else 0

    @property
    def step_of_each(self) -> Tuple[int, ...]:
        """The step of every output."""
        return self.steps or (1,) * len(self.output_specs)

    def stored_bytes(self, output: int) -> int:
        """Bytes of the expected elements of an output, by its number."""
        spec = self.output_specs[output]
        return -(-spec.elements // self.step_of_each[output]) * DTYPES[spec.dtype]

    def blobs(self) -> Iterator[Tuple[int, int, str]]:
        """Every blob that is used, with the bytes it must have and what it holds."""
        for blob in self.inputs if self.pixels is None else (self.pixels,):
            yield blob, self.input_spec.bytes, "sample inputs"
        for case in self.cases:
            for number, blob in enumerate(case.outputs):
                yield blob, self.stored_bytes(number), "expected outputs"

    def check(self, network_inputs: int, spec: InputSpec) -> None:
        """Verify that samples, labels and cases fit each other and the network. Raises `BundleError`."""
        if self.pixels is not None:
            self._check_pixels(network_inputs, spec)
        elif self.inputs:
            require(len(self.inputs) == network_inputs, "sample inputs for another number of inputs")
            require(len(self.input_spec.shape) >= 1, "samples without a batch dimension")
        else:
            require(not self.cases, "self-test: expected outputs without samples")
        require(len(self.labels) in (0, self.count), "self-test: labels for another number of samples")
        for case in self.cases:
            require(len(case.outputs) == len(self.output_specs), "self-test: outputs without a shape")

    def _check_pixels(self, network_inputs: int, spec: InputSpec) -> None:
        require(not self.inputs, "self-test: samples both as tensors and as pixels")
        require(network_inputs == 1, "self-test: samples as pixels for a network of several inputs")
        wanted, found = pixel_shape(spec), self.input_spec
        require(wanted is not None, "self-test: samples as pixels for a network that takes no pictures")
        fits = found.dtype == "uint8" and found.shape[1:] == wanted
        text = ", ".join(map(str, ("n", *(wanted or ()))))
        require(fits, f"self-test: samples are {found.dtype} {found.shape}, pixels are uint8 ({text})")
        require(found.shape[0] <= MAX_SAMPLES, f"self-test: {found.shape[0]} samples, more than {MAX_SAMPLES}")
