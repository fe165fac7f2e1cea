"""The builder: a trained network in, a bundle out.

    blocks      AutoBlockManager: finds the blocks, makes their descendants
    distill/    BlockRetrainer: teaches descendants to do what their originals do
    profile     BlockProfiler: what every variant costs; predictor: what selections can be expected to do
    packing     pack: everything into one bundle
    pipeline    all of it in a row, from a recipe, resumable
    graph/      the network as a graph: tracing, channels, segments
    prune, compose, costs, export, store   smaller building blocks
    managers/   AbstractModelManager, CommonModelManager: how a kind of network is run and judged
    recipe, resolve, cli, progress, plan   the command `legodnn-build`
    data/, zoo/ checked loaders, Fashion-MNIST, small networks, built-in recipes
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legodnn.builder.blocks import AutoBlockManager
    from legodnn.builder.distill.retrainer import BlockRetrainer
    from legodnn.builder.managers import AbstractModelManager, CommonModelManager
    from legodnn.builder.packing import BundleOptions, pack
    from legodnn.builder.profile import BlockProfiler
    from legodnn.builder.seeds import set_random_seed

__all__ = [
    "AbstractModelManager",
    "AutoBlockManager",
    "BlockProfiler",
    "BlockRetrainer",
    "BundleOptions",
    "CommonModelManager",
    "pack",
    "set_random_seed",
]

_HOMES = {
    "AbstractModelManager": "managers",
    "AutoBlockManager": "blocks",
    "BlockProfiler": "profile",
    "BlockRetrainer": "distill.retrainer",
    "BundleOptions": "packing",
    "CommonModelManager": "managers",
    "pack": "packing",
    "set_random_seed": "seeds",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: the command must be able to say that the builder's extra is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
