"""The pipeline: extract, derive, distill, profile, pack, then the report; a stage whose results are in the work
directory is skipped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn as nn

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.bundle.packing import BundleOptions, bundle_notes, left_out, pack
from legodnn.builder.distill.retrainer import BlockRetrainer
from legodnn.builder.graph.cuts import Cuts
from legodnn.builder.managers.abstract import AbstractModelManager
from legodnn.builder.profile.profiler import BlockProfiler
from legodnn.builder.profile.tables import Profile
from legodnn.builder.recipe.data import described, with_labels
from legodnn.builder.recipe.resolve import build_loaders, build_manager, build_model
from legodnn.builder.recipe.schema import Recipe
from legodnn.builder.recipe.teacher import needs_training, trained_teacher
from legodnn.builder.report.page import report_path, write_report
from legodnn.builder.report.seconds import time_selections
from legodnn.builder.report.summary import BuildSummary, segment_summaries, selections_to_time, versions
from legodnn.builder.workdir.clock import Clock
from legodnn.builder.workdir.seeds import set_random_seed


@dataclass(frozen=True)
class BuildResult:
    """A finished bundle: its path, its size in bytes, warnings of one sentence each, the profile it was packed from,
    and the path of the report."""

    path: Path
    bytes: int
    warnings: list[str]
    profile: Profile
    report: Path


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


def cut(recipe: Recipe, device: str = "cpu") -> AutoBlockManager:
    """The recipe's teacher with its blocks, as `build` would have them; needs the recipe's ``[model]`` alone."""
    return _cut(recipe, build_model(recipe), build_manager(recipe), device)


def build(
    recipe: Recipe, out: Path, work: Path, device: str = "cpu", seed: int = 0, *, timing: bool = True
) -> BuildResult:
    """Build a bundle, and its report beside it; a build that was interrupted goes on from what is in ``work``, to the
    same bytes. ``timing`` says whether selections are timed for the report, which takes `LIMIT_SECONDS` at most.

    Raises the exceptions of the stages: `ModelError`, `DataError`, `WorkError`, `RecipeError`, `OSError`.
    """
    clock = Clock()
    set_random_seed(seed)
    manager = build_manager(recipe)
    recipe = with_labels(recipe, manager.task)
    train, test = build_loaders(recipe, manager.task)
    teacher = trained_teacher(recipe, train, work / "teacher", device, seed)
    if needs_training(recipe):
        clock.stored("teacher", work / "teacher")
    set_random_seed(seed)
    with clock.watch("cut"):
        blocks = _cut(recipe, teacher, manager, device)
    compressed, trained = work / "compressed", work / "trained"
    blocks.extract_all_blocks(compressed)
    clock.stored("extract", compressed)
    results = _retrainer(recipe, blocks, compressed, trained, train, seed).train_all_blocks()
    clock.stored("distill", trained)
    set_random_seed(seed)
    profile = _profiler(recipe, blocks, trained, test).profile_all_blocks()
    clock.stored("profile", trained / "profile")
    set_random_seed(seed)
    with clock.watch("pack"):
        size = pack(out, blocks, trained, profile, test, _bundle_options(recipe), judged_on=test)
    timed, seconds = [], None
    if timing:
        timed = selections_to_time(profile)
        with clock.watch("time"):
            seconds = time_selections(blocks, trained, [p.selection for p in timed], recipe.bundle.precision)
    summary = BuildSummary(
        recipe=recipe,
        task=blocks.model_manager.task,
        metric=blocks.model_manager.metric,
        plan=blocks.plan(),
        segments=segment_summaries(blocks, profile),
        results=results,
        profile=profile,
        timed=timed,
        timing=seconds,
        stages=clock.stages,
        bundle_name=out.name,
        bundle_bytes=size,
        device=device,
        seed=seed,
        versions=versions(),
        notes=bundle_notes(out),
    )
    write_report(report_path(out), summary)
    return BuildResult(out, size, left_out(results), profile, report_path(out))


def _retrainer(
    recipe: Recipe, blocks: AutoBlockManager, compressed: Path, trained: Path, train: Iterable[Any], seed: int
) -> BlockRetrainer:
    return BlockRetrainer(
        blocks.teacher,
        blocks,
        blocks.model_manager,
        compressed,
        trained,
        recipe.distill.epochs,
        train,
        blocks.device,
        learning_rate=recipe.distill.learning_rate,
        closed_form_images=recipe.distill.closed_form_images,
        data_name=described(recipe.data.train),
        seed=seed,
    )


def _profiler(recipe: Recipe, blocks: AutoBlockManager, trained: Path, test: Iterable[Any]) -> BlockProfiler:
    return BlockProfiler(
        blocks.teacher,
        blocks,
        blocks.model_manager,
        trained,
        test,
        recipe.model.input,
        blocks.device,
        compositions=recipe.profile.compositions,
        data_name=described(recipe.data.test),
        precision=recipe.bundle.precision,
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
