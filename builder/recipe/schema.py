"""The sections of a recipe, as frozen dataclasses: every key with its default, and below it what it means.

The reference in `builder/README.md` is generated from these lines.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from legodnn.shared.vision.layouts import usual_layout

DEFAULT_MANAGER = "legodnn.builder.managers:CommonModelManager"

DATA_FILES = "legodnn.builder.data.files:loader"
"""The factory of a data set that a recipe names by its path."""

IMPORTANCE = ("l2", "throughput")
"""The names in `legodnn.builder.prune.importance.IMPORTANCE`, which a recipe is checked by before torch is imported."""

FUNCTION = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Call:
    """Something to call: ``package.module:function`` with its arguments. Another ``version`` makes it another call."""

    factory: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class ModelSection:
    """The teacher."""

    factory: Call
    """What returns the network; `torchvision:NAME` stands for any of torchvision's networks."""
    input: tuple[int, ...]
    """The shape of the input, with the batch dimension."""
    weights: Path | None = None
    """A state dict, plain or under the key `state_dict`. Without one the teacher is trained, or keeps the weights that
    its factory gave it."""
    inputs: int = 1
    """How many inputs of that shape the network takes."""
    version: str = ""
    """Another text makes the factory another one: for what its source code does not show, such as a file it reads."""


@dataclass(frozen=True)
class DataSection:
    """Loaders, or paths of data sets: what distillation learns from, and what accuracy is measured on."""

    train: Call | None = None
    """The loader to learn from, or the path of a data set. Required to build. Distillation uses no labels."""
    test: Call | None = None
    """The loader that accuracy is measured on, or the path of a data set. Required to build, but for data in files:
    without it, a fifth of the training data is set aside, by the seed."""
    validation: Call | None = None
    """The loader, or the path of a data set, that the steps of distillation are compared on. Without it, 8 % of the
    training data are set aside."""

    @property
    def divided(self) -> bool:
        """Whether the training data are divided into training and test data: they are files, and no others are
        named."""
        return self.test is None and self.train is not None and self.train.factory == DATA_FILES


@dataclass(frozen=True)
class TeacherSection:
    """How the teacher is trained where no weights are given."""

    train: Call | None = None
    """What trains the network where no weights are given: a function of the network, the train loader and
    `legodnn.builder.teach.settings.Settings`."""
    epochs: int = 4
    """Passes over the training data, for the teacher."""
    learning_rate: float = 0.002
    """The teacher's learning rate."""


@dataclass(frozen=True)
class BlocksSection:
    """How blocks and their variants are made."""

    sparsity: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)
    """The shares of the prunable channels that variants lose; 0 is the original."""
    max_ratio: float = 0.125
    """The largest share of the network's prunable layers in one block."""
    round_to: int = 8
    """Kept channels are multiples of this, where that does not undo the pruning; 1 for any number. Attention heads are
    counted one by one."""
    importance: str = "l2"
    """How channels are ranked: `l2`, the norm of the weights of a channel group, or `throughput`, the norm of the
    filters that make it times the norm of the weights that read it."""
    whole: tuple[str, ...] = ()
    """Modules that are kept whole: they are not traced and lose no channels."""
    dense: tuple[str, ...] = ()
    """Modules whose layers lose no channels."""
    boundaries: tuple[str, ...] = ()
    """Modules whose edge no block crosses."""


@dataclass(frozen=True)
class DistillSection:
    """How long and at which rate descendants are trained; a fraction of an epoch uses that share of the training
    data."""

    epochs: float = 3
    """Passes over the training data with gradient steps, or a fraction of one; 0 leaves the least-squares
    reconstruction."""
    learning_rate: float = 0.002
    """The learning rate of the gradient steps."""
    closed_form_images: int = 512
    """How many images the least-squares reconstruction is solved on."""


@dataclass(frozen=True)
class ProfileSection:
    """How many whole selections are measured for the predictor."""

    compositions: int = 12
    """How many whole networks are measured to fit the accuracy predictor."""
    images: int | None = None
    """How many images of the test data are judged: drawn by the seed, or the first where the data have no indices. All
    by default."""


@dataclass(frozen=True)
class BundleSection:
    """Options of the bundle; ``layout`` is found from the input's shape where it is not given."""

    precision: str = "fp32"
    """How weights are stored: `fp32`, lossless, or `fp16`, half the size."""
    labels: tuple[str, ...] = ()
    """The names of the classes, or of keypoints."""
    mean: tuple[float, ...] = ()
    """The mean that inputs are normalised with, a number for each channel."""
    std: tuple[float, ...] = ()
    """The standard deviation that inputs are normalised with, a number for each channel."""
    layout: str | None = None
    """What the input's dimensions are: images, or clips. By default found from the shape: five dimensions are `NCTHW`
    where the second is 1 or 3 and the third is not, else `NTCHW`."""
    samples: int = 8
    """How many test images the bundle carries for its self-test, as pixels; fewer where they and their expected outputs
    would weigh more than a tenth of the weights. 0 for whoever may not ship pictures."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """The pairs of keypoints, by number, that pictures connect."""


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


SECTIONS: Mapping[str, type] = {
    "model": ModelSection,
    "data": DataSection,
    "teacher": TeacherSection,
    "blocks": BlocksSection,
    "distill": DistillSection,
    "profile": ProfileSection,
    "bundle": BundleSection,
}
"""The sections by name, in the order in which they are written."""


def meanings(section: type) -> dict[str, str]:
    """The meanings of a section's keys: the text below each field."""
    [body] = [node.body for node in ast.parse(inspect.getsource(section)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for key, text in pairwise(body):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(text, ast.Expr):
            found[key.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found
