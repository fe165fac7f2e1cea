"""The builder: a trained network in, a bundle out.

    cli        the command `legodnn-build`
    pipeline   all of it in a row, from a recipe, resumable
    blocks     AutoBlockManager: finds the blocks, makes their descendants

    report/    the plan as text, the page beside a bundle
    bundle/    pack: everything into one bundle
    profile/   BlockProfiler: measures every variant; predicts the accuracy of selections
    distill/   BlockRetrainer: trains descendants to imitate their originals
    recipe/    a TOML file becomes objects
    plan/      what a build will do
    teach/     how a teacher is trained where there are no weights
    managers/  AbstractModelManager, and one for each application: how a kind of network is run and evaluated
    detectors/ torchvision's detectors in plain operators
    prune/     a block without some of its channels
    graph/     the network as a graph: tracing, channels, segments, and what runs them
    data/      loaders, data sets in files
    workdir/   results on disk, how long they took, progress, seeds
    zoo/       the built-in applications: networks, data, recipes

Each imports only what stands below it; the zoo imports what it needs, and nothing imports the zoo.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legodnn.builder.blocks import AutoBlockManager
    from legodnn.builder.bundle.packing import BundleOptions, pack
    from legodnn.builder.detectors import plain_detector
    from legodnn.builder.distill.retrainer import BlockRetrainer
    from legodnn.builder.graph.channels.map import refuse
    from legodnn.builder.graph.channels.rules import channel_rule
    from legodnn.builder.graph.cuts import Cuts
    from legodnn.builder.graph.tracing.opaque import Opaque
    from legodnn.builder.managers import AbstractModelManager, CommonModelManager
    from legodnn.builder.profile.profiler import BlockProfiler
    from legodnn.builder.workdir.seeds import set_random_seed

__all__ = [
    "AbstractModelManager",
    "AutoBlockManager",
    "BlockProfiler",
    "BlockRetrainer",
    "BundleOptions",
    "CommonModelManager",
    "Cuts",
    "Opaque",
    "channel_rule",
    "pack",
    "plain_detector",
    "refuse",
    "set_random_seed",
]

_MODULES = {
    "AbstractModelManager": "managers",
    "AutoBlockManager": "blocks",
    "BlockProfiler": "profile.profiler",
    "BlockRetrainer": "distill.retrainer",
    "BundleOptions": "bundle.packing",
    "CommonModelManager": "managers",
    "Cuts": "graph.cuts",
    "Opaque": "graph.tracing.opaque",
    "channel_rule": "graph.channels.rules",
    "pack": "bundle.packing",
    "plain_detector": "detectors",
    "refuse": "graph.channels.map",
    "set_random_seed": "workdir.seeds",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that the command can report that the builder's extra is missing."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
