"""`Costs`: what a build takes, as far as it can be known before.

Times are those of floating-point operations, at the rate that the teacher has on this machine, and of reading the data.
A training step counts as three inferences, one forwards and two backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from legodnn.builder.bundle.samples import TOGETHER
from legodnn.builder.costs.disk import DiskNeeds, needs_of
from legodnn.builder.costs.loaders import LoaderSize
from legodnn.builder.costs.network import NetworkWork
from legodnn.builder.data.splits import COMPARED, VALIDATION_SHARE
from legodnn.builder.distill.calibration import CALIBRATION_BYTES
from legodnn.builder.distill.reconstruction import PIECE_BYTES
from legodnn.builder.profile.recheck import BATCHES
from legodnn.builder.profile.recording import RECORDED_BYTES
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.recipe.teacher import needs_training

_STEP = 3
"""Inferences that a training step takes as long as."""

_COPIES = 6
"""Copies of descendants' weights while they are trained: themselves, gradients, Adam's two moments, and the results of
two steps."""


@dataclass(frozen=True)
class Costs:
    """What a build takes.

    ``teacher_passes`` and ``train_passes`` are passes over ``train``, to train the teacher and to distil; the latter,
    like those over ``test``, is None where the number of images is not known, and so is ``seconds``, by stage.
    ``memory_bytes`` is the process's peak.
    """

    train: LoaderSize
    test: LoaderSize
    teacher_passes: int
    train_passes: float | None
    test_passes: float | None
    seconds: Mapping[str, float] | None
    memory_bytes: int
    disk: DiskNeeds

    def to_plain(self) -> dict[str, object]:
        """Dicts and numbers."""
        return {**vars(self), "train": vars(self.train), "test": vars(self.test), "disk": vars(self.disk)}


def estimate(recipe: Recipe, work: NetworkWork, train: LoaderSize, test: LoaderSize, resident: int) -> Costs:
    """The costs of a recipe's build from nothing, in a process that has ``resident`` bytes already."""
    made = _Estimate(recipe, work, train, test)
    return Costs(
        train=train,
        test=test,
        teacher_passes=made.teacher_epochs,
        train_passes=made.train_passes,
        test_passes=made.test_passes,
        seconds=made.seconds(),
        memory_bytes=resident + max(made.distillation_bytes(), made.calibration_bytes(), made.profile_bytes()),
        disk=made.disk(),
    )


class _Estimate:
    def __init__(self, recipe: Recipe, work: NetworkWork, train: LoaderSize, test: LoaderSize) -> None:
        self.recipe, self.work, self.train, self.test = recipe, work, train, test
        self.variants = len(work.descendants)
        self.blocks = next(iter(work.descendants.values()))
        self.teacher_epochs = recipe.teacher.epochs if needs_training(recipe) else 0

    # ---- passes -----------------------------------------------------------------------------------------------------
    @property
    def compared(self) -> int | None:
        """Images that the steps are compared on, each time."""
        if self.train.images is None:
            return None
        return COMPARED if self.recipe.data.validation else min(COMPARED, int(VALIDATION_SHARE * self.train.images))

    @property
    def train_passes(self) -> float | None:
        if self.train.images is None or self.compared is None:
            return None
        solved = min(self.recipe.distill.closed_form_images, self.train.images)
        validated = 0 if self.recipe.data.validation else self._steps * self.compared
        return self._epochs + (solved + validated) / max(1, self.train.images)

    @property
    def _epochs(self) -> float:
        return self.recipe.distill.epochs * (1.0 if self.recipe.data.validation else 1 - VALIDATION_SHARE)

    @property
    def _steps(self) -> int:
        return 2 if self.recipe.distill.epochs else 1

    @property
    def _selections(self) -> int:
        """Whole networks that are measured."""
        return self.recipe.profile.compositions + self.variants

    @property
    def test_passes(self) -> float | None:
        """To judge the teacher and the chance level before distillation, and in the profile with all its figures; for
        every descendant and whole networks; the first batches and the samples twice; once for the labels before a
        teacher is trained."""
        if self.test.images is None:
            return None
        images = max(1, self.test.images)
        first = 2 * min(1.0, BATCHES * self.test.batch / images) + 2 * min(1.0, TOGETHER / images)
        labels = 1 if self.teacher_epochs else 0
        return 5 + labels + first + self.variants * len(self.blocks) + self._selections

    # ---- seconds ----------------------------------------------------------------------------------------------------
    def seconds(self) -> dict[str, float] | None:
        """By stage; stages that take seconds whatever the data are not among them."""
        if self.train.images is None or self.test.images is None or self.train_passes is None:
            return None
        teacher = self.work.flops * _STEP * self.teacher_epochs * self.train.images
        read_train, read_test = self.train.images * self.train.seconds, self.test.images * self.test.seconds
        found = {"teacher": self._of(teacher) + read_train * self.teacher_epochs} if self.teacher_epochs else {}
        found["distill"] = self._of(self._distillation_flops()) + read_train * self.train_passes
        found["profile"] = self._of(self._profile_flops()) + read_test * (self.test_passes or 0.0)
        return found

    def _of(self, flops: float) -> float:
        """The seconds of so many operations, as fast as the teacher's are."""
        return flops / max(1.0, self.work.flops) * self.work.seconds

    def _distillation_flops(self) -> float:
        images, compared = self.train.images or 0, self.compared or 0
        rows = [part for row in self.work.descendants.values() for part in row.values()]
        once = sum(part.flops for part in rows)
        trunk = self.variants * (self.work.flops - sum(self.work.segments[name].flops for name in self.blocks))
        teacher = self.work.flops
        solved = min(self.recipe.distill.closed_form_images, images)
        total = sum(part.solve_flops for part in rows)
        total += solved * (self.variants * teacher + 3 * once + sum(part.fit_flops for part in rows))
        total += self._epochs * images * (teacher + trunk + _STEP * once)
        return total + self._steps * compared * (teacher + trunk + 2 * once)

    def _profile_flops(self) -> float:
        behind = {name: self.work.flops_behind(name) for name in self.blocks}
        rows = list(self.work.descendants.values())
        variants = sum(part.flops + behind[name] for row in rows for name, part in row.items())
        smallest = rows[-1]
        pruned = self.work.flops - sum(self.work.segments[name].flops - part.flops for name, part in smallest.items())
        whole = 5 * self.work.flops + self._selections * (self.work.flops + pruned) / 2
        return (self.test.images or 0) * (variants + whole)

    # ---- bytes beside those that are there --------------------------------------------------------------------------
    def descendant_bytes(self) -> dict[str, int]:
        """The bytes of all descendants' weights, by sparsity."""
        return {name: sum(part.weight_bytes for part in row.values()) for name, row in self.work.descendants.items()}

    def disk(self) -> DiskNeeds:
        """What the build needs on the disk."""
        precision, trained = self.recipe.bundle.precision, bool(self.teacher_epochs)
        return needs_of(self.work.weight_bytes, self.descendant_bytes(), len(self.blocks), precision, trained)

    def _largest(self, of: str) -> float:
        return max(float(getattr(part, of)) for part in self.work.segments.values())

    def distillation_bytes(self) -> int:
        """The descendants with what their training needs; of a batch the teacher's values between segments, those of
        one path, and a block's for its gradient: once in the forward pass, once as gradients."""
        paths = self.work.boundary_bytes + 2 * self._largest("live_bytes")
        trained = 2 * max(self.work.segments[name].values_bytes for name in self.blocks)
        return int(_COPIES * sum(self.descendant_bytes().values()) + self.train.batch * (paths + trained))

    def calibration_bytes(self) -> int:
        """The descendants, the activations of all images that are calibrated on, and what is read of them at once."""
        asked = self.recipe.distill.closed_form_images
        images = min(asked, self.train.images or asked)
        held = min(CALIBRATION_BYTES, int(2 * images * self._largest("live_bytes")))
        pieces = min(PIECE_BYTES, int(2 * images * self._largest("values_bytes")))
        batch = int(self.train.batch * self._largest("values_bytes"))
        return sum(self.descendant_bytes().values()) + held + pieces + batch

    def profile_bytes(self) -> int:
        """The weights as the bundle stores them, recorded activations, and a batch."""
        recorded = self._largest("live_bytes") * (self.test.images or 0)
        stored = sum(self.descendant_bytes().values()) + self.work.weight_bytes
        return int(stored + min(RECORDED_BYTES, recorded) + self.test.batch * 2 * self._largest("live_bytes"))
