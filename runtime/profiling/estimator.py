"""`Estimator`: what the measurements of a network on this device have in common."""

from __future__ import annotations

from legodnn.runtime.network import Network


class Estimator:
    """Measures what a network's variants take on this device.

    Args:
        network: the network, which gets the result.
        seed: of the selections that are measured.
    """

    def __init__(self, network: Network, seed: int = 0) -> None:
        self.network = network
        self.seed = seed
