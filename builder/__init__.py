"""The builder: a trained network in, a bundle out.

    blocks      AutoBlockManager: finds the blocks, makes their descendants
    distill/    BlockRetrainer: teaches descendants to do what their originals do
    profile     BlockProfiler: what every variant costs; predictor: what selections may be expected to do; recording:
                the test set on its way through the network
    packing     pack: everything into one bundle
    pipeline    all of it in a row, from a recipe, resumable
    graph/      the network as a graph: tracing, channels, segments
    prune, compose, costs, export, store, torchscript   smaller building blocks
    managers/   AbstractModelManager, and one for each application: how a kind of network is run and judged
    teachers/   how networks of the built-in recipes are trained where there are no weights
    plan, groups   what will be done, and which channels go together
    report/     what a person reads: the plan as text, the HTML page beside a bundle; clock: how long stages took
    recipe, sections, resolve, cli, progress   the command `legodnn-build`
    detectors/  torchvision's detectors in plain operators
    data/, zoo/ loaders, data sets in files, what is made of Fashion-MNIST; networks, built-in recipes
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legodnn.builder.blocks import AutoBlockManager
    from legodnn.builder.detectors import plain_detector
    from legodnn.builder.distill.retrainer import BlockRetrainer
    from legodnn.builder.graph.channels.map import refuse
    from legodnn.builder.graph.channels.rules import channel_rule
    from legodnn.builder.graph.cuts import Cuts
    from legodnn.builder.graph.tracing.opaque import Opaque
    from legodnn.builder.managers import AbstractModelManager, CommonModelManager
    from legodnn.builder.packing import BundleOptions, pack
    from legodnn.builder.profile import BlockProfiler
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

_HOMES = {
    "AbstractModelManager": "managers",
    "AutoBlockManager": "blocks",
    "BlockProfiler": "profile",
    "BlockRetrainer": "distill.retrainer",
    "BundleOptions": "packing",
    "CommonModelManager": "managers",
    "Cuts": "graph.cuts",
    "Opaque": "graph.tracing.opaque",
    "channel_rule": "graph.channels.rules",
    "pack": "packing",
    "plain_detector": "detectors",
    "refuse": "graph.channels.map",
    "set_random_seed": "workdir.seeds",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command must be able to say that the builder's extra is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
