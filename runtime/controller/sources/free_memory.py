"""`FreeMemory` and `SharedMemory`: the free memory of the machine, or of this process's control group."""

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
    """A share of the memory that is free or already used by the networks, so that a switch does not change it.

    Args:
        networks: the networks. Their current weights count as used; activations, which are free between inferences, and
            cached compositions do not.
        share: above 0 and at most 1; the rest is left to other processes and to the rest of this one. By default 0.5,
            not tuned.
        root: where the file system begins, for the files of control groups.

    Raises `UsageError` for a share out of range.
    """

    def __init__(self, networks: Sequence[Network], share: float = 0.5, root: Union[str, Path] = "/") -> None:
        check_share("the share of free memory", share)
        self._networks, self._share, self._root = tuple(networks), share, root

    def read(self) -> Budget:
        """The bytes available to the networks, at least 1."""
        used = sum(weight_bytes(n.manifest, n.selection) for n in self._networks if n.loaded)
        return Budget(memory_bytes=max(1.0, self._share * (free_memory(self._root) + used)))


class FreeMemory(SharedMemory):
    """`SharedMemory` of one network."""

    def __init__(self, network: Network, share: float = 0.5, root: Union[str, Path] = "/") -> None:
        super().__init__([network], share, root)
