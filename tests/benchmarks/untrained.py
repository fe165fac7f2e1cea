"""Bundles of descendants that nothing was taught: for whatever does not ask how right their answers are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch


def untrained_bundle(blocks: Any, folder: Path) -> Path:
    """A bundle of every block's untrained descendants, whose self-test holds a random mixed selection."""
    from legodnn.builder.bundle.packing import BundleOptions, pack
    from legodnn.builder.distill.results import RESULTS, Result
    from legodnn.builder.graph import resources
    from legodnn.builder.profile.tables import Profile
    from legodnn.builder.prune.stored import save_descendant
    from legodnn.builder.workdir.files import save_json
    from legodnn.builder.workdir.stage import Stage
    from legodnn.shared.bundle.manifest import Predictor

    variants = blocks.descendant_names
    table = {
        segment.name: {"original": resources.measure(blocks.folded[segment.name], blocks.example_inputs(segment.name))}
        for segment in blocks.graph.segments
    }
    for variant in variants:
        stage = Stage(folder / "trained" / variant, blocks.inputs_of(variant))
        with stage.making([RESULTS, *(f"{block}.pt" for block in blocks.block_names)]):
            for block in blocks.block_names:
                descendant = blocks.derive(block, variant)
                save_descendant(stage.path(f"{block}.pt"), descendant)
                table[block][variant] = resources.measure(descendant.module, blocks.example_inputs(block))
            save_json(stage.path(RESULTS), [vars(Result(b, variant, "untrained", 0.0)) for b in blocks.block_names])
    choose = random.Random(0)
    mixed = {b: choose.choice(["original", *variants]) for b in blocks.block_names}
    if "sparsity" not in "".join(mixed.values()):
        mixed[blocks.block_names[0]] = variants[0]
    # Made up: the more is gone the more a further layer hurts, and the smallest network is right half the time.
    worst = 0.5 / len(blocks.block_names)
    row = {"original": 0.0, **{v: worst * (i / len(variants)) ** 2 for i, v in enumerate(variants, start=1)}}
    losses = {b: row for b in blocks.block_names}
    predictor = Predictor(1.0, ((0.0, 0.0), (1.0, 1.0)), 0.0, 0.0, 1)
    profile = Profile(1.0, losses, losses, table, predictor, [{"selection": mixed, "distortion": 0.1}])
    loader = [(blocks.samples[0], torch.zeros(len(blocks.samples[0]), dtype=torch.int64))]
    if len(blocks.samples) > 1:
        loader = [tuple(blocks.samples)]
        blocks.model_manager.forward_to_gen_mid_data = lambda model, data, device: model(*data)
    path = folder / "network.lgb"
    pack(path, blocks, folder / "trained", profile, loader, BundleOptions(samples=1))
    return path
