"""The pipeline: teacher, extract, distill, profile, pack, then the report.

A stage whose result is in the work directory is not made again unless something that determines it has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.bundle.packing import BundleOptions, bundle_notes, left_out, pack
from legodnn.builder.bundle.samples import check_normalised
from legodnn.builder.costs.disk import require_space
from legodnn.builder.costs.estimate import Costs, estimate
from legodnn.builder.costs.loaders import size_of
from legodnn.builder.costs.network import work_of
from legodnn.builder.distill.results import read_results, trained_stages
from legodnn.builder.distill.retrainer import BlockRetrainer
from legodnn.builder.graph.cuts import Cuts
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.profile.profiler import BlockProfiler
from legodnn.builder.profile.tables import Profile
from legodnn.builder.profile.teacher import check_labels, judge_teacher
from legodnn.builder.recipe.data import input_spec, with_labels
from legodnn.builder.recipe.inputs import call_inputs, data_inputs
from legodnn.builder.recipe.resolve import Loaders, build_loaders, build_manager, build_model
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.recipe.teacher import needs_training, teacher_stage, trained_teacher
from legodnn.builder.report.page import write_report
from legodnn.builder.report.path import report_path
from legodnn.builder.report.seconds import time_selections
from legodnn.builder.report.summary import BuildSummary, segment_summaries, selections_to_time, versions
from legodnn.builder.workdir.clock import Clock, StageTime
from legodnn.builder.workdir.directory import check_work, open_work
from legodnn.builder.workdir.log import in_files
from legodnn.builder.workdir.memory import keep_freed_memory
from legodnn.builder.workdir.reuse import Reuse
from legodnn.builder.workdir.seeds import set_random_seed
from legodnn.builder.workdir.stage import Stage
from legodnn.shared.errors import RecipeError
from legodnn.shared.platform import knows_peak, resident_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildResult:
    """A finished bundle: its path, its size in bytes, warnings of one sentence each, the profile it was packed from,
    the path of the report, the name of the metric, and the times of the stages."""

    path: Path
    bytes: int
    warnings: list[str]
    profile: Profile
    report: Path
    metric: str
    stages: Sequence[StageTime]


def cut(recipe: Recipe, device: str = "cpu") -> AutoBlockManager:
    """The recipe's teacher with its blocks, as `build` would have them; needs the recipe's ``[model]`` alone."""
    return _cut(recipe, build_model(recipe), build_manager(recipe), device)


def costs(recipe: Recipe, blocks: AutoBlockManager, seed: int = 0) -> Costs:
    """What a build of the recipe takes from nothing, with the blocks that `cut` found; its data are opened, and their
    first batches read.

    Raises `RecipeError` where data are not named, `DataError` where they cannot be used.
    """
    manager = blocks.model_manager
    loaders = build_loaders(with_labels(recipe, manager.task), manager.task, seed)
    train, test = size_of(loaders.train), size_of(loaders.test)
    return estimate(recipe, work_of(blocks), train, test, resident_bytes() if knows_peak() else 0)


def build(
    recipe: Recipe,
    out: Path,
    work: Path,
    device: str = "cpu",
    seed: int = 0,
    *,
    timing: bool = True,
    own_process: bool = False,
) -> BuildResult:
    """Build a bundle, and its report beside it; a build that was interrupted goes on from what is in ``work``, to the
    same bytes. ``timing`` says whether selections are timed for the report, which takes `LIMIT_SECONDS` at most.
    ``own_process`` says that nothing else runs in this process, whose allocator may then be told to keep freed memory.

    Raises the exceptions of the stages: `ModelError`, `DataError`, `WorkError`, `RecipeError`, `OSError`.
    """
    check_work(work)
    made = _Build(recipe, work, device, seed)
    loaders = made.loaders()  # before anything is written
    if own_process and keep_freed_memory(max(loaders.train.batch_bytes, loaders.test.batch_bytes)):
        logger.debug("freed memory is kept for later allocations")
    with open_work(work), in_files(work):
        return made.run(out, loaders, timing)


def explain(recipe: Recipe, work: Path, device: str = "cpu", seed: int = 0) -> list[str]:
    """What `build` would do, a line for every stage: taken from ``work``, or made and because of what. Nothing is
    written and nothing trained.

    Raises what `build` raises for a recipe, a network or data that cannot be used.
    """
    check_work(work)
    return _Build(recipe, work, device, seed).explain()


class _Build:
    """One build. Its stages are made from one another: the teacher first, whose weights are inputs of all others."""

    def __init__(self, recipe: Recipe, work: Path, device: str, seed: int) -> None:
        self.work, self.device, self.seed = work, device, seed
        self.clock, self.reuse = Clock(), Reuse()
        self._said: list[str] = []
        self._warnings: list[str] = []
        set_random_seed(seed)
        self.manager = build_manager(recipe)
        self.recipe = with_labels(recipe, self.manager.task)
        self._named = len(recipe.bundle.labels)  # of data in files there may be fewer than the network has scores for
        set_random_seed(seed)
        self.network = build_model(self.recipe)
        self.teacher: Stage | None = None
        if needs_training(self.recipe):
            self.teacher = teacher_stage(self.recipe, self.network, work / "teacher", device, seed)
            self.reuse.add("teacher", [self.teacher])

    def explain(self) -> list[str]:
        """See `explain`."""
        if self.teacher is not None and not self.teacher.done:
            return [*self.reuse.lines(), "extract, distill, profile: after the teacher, whose weights they depend on"]
        loaders = self.loaders()
        self._plan_stages(self._blocks(loaders), loaders)
        return [*self.reuse.lines(), "pack, report: always"]

    def loaders(self) -> Loaders:
        """The recipe's loaders, see `build_loaders`."""
        return build_loaders(self.recipe, self.manager.task, self.seed)

    def run(self, out: Path, loaders: Loaders, timing: bool) -> BuildResult:
        """See `build`."""
        if self.teacher is not None and not self.teacher.done:
            untrained = _cut(self.recipe, self.network, self.manager, self.device)
            self._require_space(out, untrained, None)
        blocks = self._blocks(loaders)
        retrainer, profiler = self._plan_stages(blocks, loaders)
        self._say_changes()
        missing = {variant: stage for variant, stage in retrainer.stages.items() if not stage.done}
        self._require_space(out, blocks, missing)
        if not all(stage.done for stage in self.reuse.stages("distill")):
            self._judge(blocks, loaders)
        with self.clock.watch("extract", self.reuse.stages("extract")):
            blocks.extract_all_blocks(self._compressed)
        with self.clock.watch("distill", self.reuse.stages("distill")):
            results = retrainer.train_all_blocks()
        set_random_seed(self.seed)
        with self.clock.watch("profile", self.reuse.stages("profile")):
            profile = profiler.profile_all_blocks()
        set_random_seed(self.seed)
        with self.clock.watch("pack"):
            options = _bundle_options(self.recipe)
            size = pack(out, blocks, self._trained, profile, loaders.test, options, judged_on=loaders.test)
        self._report(out, size, blocks, profile, timing)
        warnings, stages = [*self._warnings, *left_out(results, profile)], self.clock.stages
        return BuildResult(out, size, warnings, profile, report_path(out), self.manager.metric, stages)

    def _require_space(self, out: Path, blocks: AutoBlockManager, missing: Mapping[str, Stage] | None) -> None:
        """Refuse a disk that is too full for what is missing, before any of it is made."""
        teacher = self.teacher if self.teacher is not None and not self.teacher.done else None
        require_space(blocks, missing, teacher, self.recipe.bundle.precision, self.work, out)

    def _judge(self, blocks: AutoBlockManager, loaders: Loaders) -> None:
        """Refuse test labels that the teacher has no score for and pictures that are not normalised as the recipe says,
        and say where the teacher is no better than chance, before anything is distilled from it."""
        # The judgement reads all of them.
        check_labels(self.manager, blocks.teacher, {"data.test": loaders.test}, self.device, read=False)
        self._check_names(loaders)
        if self.recipe.bundle.samples:
            check_normalised(blocks, loaders.test, input_spec(self.recipe))
        for warning in judge_teacher(self.manager, blocks.teacher, loaders.test, blocks.device).warnings:
            self._warnings.append(warning)
            logger.warning(warning)

    def _check_names(self, loaders: Loaders) -> None:
        """Refuse names in the recipe that are more or fewer than the network has scores for, where that is known."""
        classes = loaders.test.classes
        if classes is not None and self._named not in (0, classes):
            raise RecipeError([f"bundle.labels: {self._named} names, but the network has scores for {classes} classes"])

    def _say_changes(self) -> None:
        """Say which stages are made again, and because of what; each once."""
        for line in self.reuse.changes():
            if line not in self._said:
                logger.info(line)
                self._said.append(line)

    @property
    def _compressed(self) -> Path:
        return self.work / "compressed"

    @property
    def _trained(self) -> Path:
        return self.work / "trained"

    def _blocks(self, loaders: Loaders) -> AutoBlockManager:
        """The blocks of the teacher, which is trained now if it has to be and is not yet."""
        network = self.network
        if self.teacher is not None:
            self._say_changes()
            if not self.teacher.done:
                both = {"data.train": loaders.train, "data.test": loaders.test}
                check_labels(self.manager, network, both, self.device)
                self._check_names(loaders)
            with self.clock.watch("teacher", [self.teacher]):
                network = trained_teacher(self.recipe, network, self.teacher, loaders.train, self.device)
        set_random_seed(self.seed)
        with self.clock.watch("cut"):
            return _cut(self.recipe, network, self.manager, self.device)

    def _plan_stages(self, blocks: AutoBlockManager, loaders: Loaders) -> tuple[BlockRetrainer, BlockProfiler]:
        """The makers of all stages after the teacher; what they will make is noted in ``reuse``."""
        recipe, seed = self.recipe, self.seed
        manager = call_inputs("manager", recipe.manager, recipe.folder)
        divided = {"data.test": f"set aside from data.train by seed {seed}"} if recipe.data.divided else {}
        images = {"profile.images": f"{recipe.profile.images} by seed {seed}"} if recipe.profile.images else {}
        validation = data_inputs("data.validation", recipe.data.validation, recipe)
        retrainer = BlockRetrainer(
            blocks.teacher,
            blocks,
            self.manager,
            self._compressed,
            self._trained,
            recipe.distill.epochs,
            loaders.train,
            blocks.device,
            learning_rate=recipe.distill.learning_rate,
            closed_form_images=recipe.distill.closed_form_images,
            data_name={**manager, **data_inputs("data.train", recipe.data.train, recipe), **validation, **divided},
            seed=seed,
            validation_loader=loaders.validation,
        )
        profiler = BlockProfiler(
            blocks.teacher,
            blocks,
            self.manager,
            self._trained,
            loaders.test,
            recipe.model.input,
            blocks.device,
            compositions=recipe.profile.compositions,
            data_name={**manager, **data_inputs("data.test", recipe.data.test, recipe), **divided, **images},
            precision=recipe.bundle.precision,
        )
        names = blocks.descendant_names
        self.reuse.add("extract", [blocks.compressed(self._compressed, name) for name in names])
        self.reuse.add("distill", [retrainer.stages[name] for name in names])
        self.reuse.add("profile", [profiler.stage([retrainer.stages[name].inputs for name in names])])
        return retrainer, profiler

    def _report(self, out: Path, size: int, blocks: AutoBlockManager, profile: Profile, timing: bool) -> None:
        timed, seconds = [], None
        if timing:
            timed = selections_to_time(profile)
            with self.clock.watch("time"):
                seconds = time_selections(
                    blocks, self._trained, [p.selection for p in timed], self.recipe.bundle.precision
                )
        summary = BuildSummary(
            recipe=self.recipe,
            task=self.manager.task,
            metric=self.manager.metric,
            plan=blocks.plan(),
            segments=segment_summaries(blocks, profile),
            results=read_results(trained_stages(blocks, self._trained)),
            profile=profile,
            timed=timed,
            timing=seconds,
            stages=self.clock.stages,
            bundle_name=out.name,
            bundle_bytes=size,
            device=self.device,
            seed=self.seed,
            versions=versions(),
            notes=bundle_notes(out),
        )
        write_report(report_path(out), summary)


def _cut(recipe: Recipe, teacher: nn.Module, model_manager: AbstractModelManager, device: str) -> AutoBlockManager:
    return AutoBlockManager(
        recipe.blocks.sparsity,
        teacher,
        model_manager,
        [recipe.model.input] * recipe.model.inputs,
        recipe.blocks.max_ratio,
        device,
        importance=recipe.blocks.importance,
        round_to=recipe.blocks.round_to,
        cuts=Cuts(recipe.blocks.whole, recipe.blocks.dense, recipe.blocks.boundaries),
    )


def _bundle_options(recipe: Recipe) -> BundleOptions:
    return BundleOptions(
        precision=recipe.bundle.precision,
        labels=recipe.bundle.labels,
        mean=recipe.bundle.mean or None,
        std=recipe.bundle.std or None,
        layout=recipe.layout,
        samples=recipe.bundle.samples,
        skeleton=recipe.bundle.skeleton,
    )
