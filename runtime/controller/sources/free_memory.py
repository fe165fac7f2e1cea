"""`FreeMemory` and `SharedMemory`: the memory that is free on the machine, or in the control group this runs in."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence, Union

from legodnn.runtime.controller.budget import Budget
from legodnn.runtime.controller.sources.source import Source
from legodnn.runtime.device.memory_table import weight_bytes
from legodnn.runtime.network import Network
from legodnn.runtime.optimizer.arguments import check_share
from legodnn.shared.host import free_memory


class SharedMemory(Source):
    """A share of the memory that is free or used by the networks already, so that a switch changes nothing about it.

    Args:
        networks: the networks. Their weights count as used; their activations do not, since between inferences they are
            free, and neither do compositions they keep for the way back.
        share: above 0 and at most 1. Leave room for what else may come: the rest of the process, other processes.
        root: where the file system begins, for files about control groups.

    Raises `UsageError` for a share that cannot be.
    """

    def __init__(self, networks: Sequence[Network], share: float = 0.5, root: Union[str, Path] = "/") -> None:
        check_share("the share of free memory", share)
        self._networks, self._share, self._root = tuple(networks), share, root

    def read(self) -> Budget:
        """The bytes there are for the networks, 1 at least."""
        used = sum(weight_bytes(n.manifest, n.selection) for n in self._networks if n.loaded)
        return Budget(memory_bytes=max(1.0, self._share * (free_memory(self._root) + used)))


class FreeMemory(SharedMemory):
    """`SharedMemory` of one network."""

    def __init__(self, network: Network, share: float = 0.5, root: Union[str, Path] = "/") -> None:
        super().__init__([network], share, root)
