"""What tables of the manifest are made of: plain values, `TensorSpec` and `InputSpec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple, TypeVar

from legodnn.shared.bundle.schema import from_plain, to_plain
from legodnn.shared.errors import BundleError

DTYPES: Mapping[str, int] = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip
"""Bytes per element of the types a bundle may hold."""

P = TypeVar("P", bound="Plain")


class Plain:
    """The base class of the manifest's tables."""

    def to_plain(self) -> Dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        plain: Dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls: "type[P]", plain: Any) -> P:
        """The inverse of `to_plain`; `BundleError` names the field that does not fit."""
        return from_plain(cls, plain)


def require(condition: bool, reason: str) -> None:
    """Raise `BundleError` unless the condition holds."""
    if not condition:
        raise BundleError(reason)


@dataclass(frozen=True)
class TensorSpec(Plain):
    """A tensor: its name, its shape with the batch dimension, its dtype (``float32``)."""

    name: str
    shape: Tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, f"dtype '{self.dtype}' is not known")
        require(all(0 < s < 2**31 for s in self.shape), f"shape {self.shape} is not possible")

    @property
    def bytes(self) -> int:
        """Bytes of one such tensor."""
        return self.elements * DTYPES[self.dtype]

    @property
    def elements(self) -> int:
        """Elements of one such tensor."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class InputSpec(Plain):
    """The network's input; ``mean`` and ``std`` normalise pixels in [0, 1], None where unknown; ``labels`` name classes
    or keypoints."""

    shape: Tuple[int, ...]
    dtype: str
    layout: str
    mean: Optional[Tuple[float, ...]]
    std: Optional[Tuple[float, ...]]
    labels: Tuple[str, ...]

    def __post_init__(self) -> None:
        require(len(self.shape) >= 1, "an input has at least a batch dimension")
        self.frame  # noqa: B018  (runs its checks)

    @property
    def frame(self) -> TensorSpec:
        """One frame: the input without the batch dimension."""
        return TensorSpec("frame", self.shape[1:], self.dtype)
