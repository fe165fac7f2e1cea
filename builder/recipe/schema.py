"""The sections of a recipe, as frozen dataclasses: every key has one line here, with its default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from legodnn.shared.vision.clips import usual_layout

DEFAULT_MANAGER = "legodnn.builder.managers:CommonModelManager"

DATA_FILES = "legodnn.builder.data.files:loader"
"""What makes a loader of a data set that a recipe names by its path."""

FUNCTION = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Call:
    """Something to call: ``package.module:function`` with its arguments."""

    factory: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSection:
    """The teacher: how it is made, its weights, the shape of its input with the batch dimension, and how many inputs
    of that shape it takes."""

    factory: Call
    input: tuple[int, ...]
    weights: Path | None = None
    inputs: int = 1


@dataclass(frozen=True)
class DataSection:
    """Loaders, or paths of data sets: what distillation learns from, and what accuracy is measured on."""

    train: Call | None = None
    test: Call | None = None


@dataclass(frozen=True)
class TeacherSection:
    """How the teacher is trained where no weights are given: a function of the network, the train loader and
    `legodnn.builder.teach.settings.Settings`; how long and how fast."""

    train: Call | None = None
    epochs: int = 4
    learning_rate: float = 0.002


@dataclass(frozen=True)
class BlocksSection:
    """How blocks and their variants are made."""

    sparsity: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    max_ratio: float = 0.125
    round_to: int = 8
    importance: str = "l2"
    whole: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()
    boundaries: tuple[str, ...] = ()


@dataclass(frozen=True)
class DistillSection:
    """How long and how fast descendants learn; a fraction of an epoch sees that much of the training data."""

    epochs: float = 3
    learning_rate: float = 0.002
    closed_form_images: int = 512


@dataclass(frozen=True)
class ProfileSection:
    """How many whole selections are measured for the predictor."""

    compositions: int = 12


@dataclass(frozen=True)
class BundleSection:
    """What the bundle holds beside the network; ``layout`` is found from the input's shape where it is not given."""

    precision: str = "fp32"
    labels: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str | None = None
    samples: int = 16
    skeleton: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; ``folder`` is where names and relative paths in it are looked up first."""

    name: str
    folder: Path
    model: ModelSection
    manager: Call = field(default_factory=lambda: Call(DEFAULT_MANAGER))
    data: DataSection = field(default_factory=DataSection)
    teacher: TeacherSection = field(default_factory=TeacherSection)
    blocks: BlocksSection = field(default_factory=BlocksSection)
    distill: DistillSection = field(default_factory=DistillSection)
    profile: ProfileSection = field(default_factory=ProfileSection)
    bundle: BundleSection = field(default_factory=BundleSection)

    @property
    def layout(self) -> str:
        """Which dimension of the input is what, one of `LAYOUTS`."""
        return self.bundle.layout or usual_layout(self.model.input)
