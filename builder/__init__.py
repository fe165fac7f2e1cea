"""The builder: a trained network in, a bundle out.

    blocks      AutoBlockManager: finds the blocks, makes their descendants
    distill/    BlockRetrainer: teaches descendants to do what their originals do
    profile     BlockProfiler: what every variant costs; predictor: what selections can be expected to do
    pack        pack: everything into one bundle
    pipeline    all of it in a row, from a recipe, resumable
    graph/      the network as a graph: tracing, channels, segments
    prune, compose, costs, export, store   smaller building blocks
    managers/   AbstractModelManager, CommonModelManager: how a kind of network is run and judged
    recipe, resolve, cli, progress, plan   the command `legodnn-build`
    data/, zoo/ checked loaders, Fashion-MNIST, small networks, built-in recipes
"""

from legodnn.builder.blocks import AutoBlockManager
from legodnn.builder.distill.retrainer import BlockRetrainer
from legodnn.builder.managers import AbstractModelManager, CommonModelManager
from legodnn.builder.pack import BundleOptions, pack
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
