"""`Estimator`: the base class of measurements on this device."""

from __future__ import annotations

from legodnn.runtime.network import Network


class Estimator:
    """Measures a network's variants on this device.

    Args:
        network: the network, which gets the result.
        seed: of the random selections that are measured.
    """

    def __init__(self, network: Network, seed: int = 0) -> None:
        self.network = network
        self.seed = seed
