"""Descendants in files: weights and structure together, so that neither has to be made again to read the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, fx

from legodnn.builder.graph.channels.map import ChannelMap
from legodnn.builder.prune.derive import Descendant, Place, rebuild
from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.shared.errors import UsageError, WorkError, one_line


def to_plain(descendant: Descendant) -> dict[str, Any]:
    """Tensors and plain values: ``state``, the weights by name, and ``kept``, a row for every tensor that was shrunken
    of its layer, parameter, axis and the indices kept."""
    state = {name: value.detach().cpu().clone() for name, value in descendant.module.state_dict().items()}
    return {"state": state, "kept": [[*place, index] for place, index in descendant.kept.items()]}


def from_plain(block: fx.GraphModule, channels: ChannelMap, plain: Mapping[str, Any]) -> Descendant:
    """The inverse of `to_plain`; ``channels`` is the analysis of ``block``, which is not changed. Raises `UsageError`
    where it is no descendant of that block."""
    if not {"state", "kept"} <= plain.keys():
        raise UsageError("there are weights without the structure of their descendant")
    kept: dict[Place, Tensor] = {(owner, name, axis): index for owner, name, axis, index in plain["kept"]}
    descendant = rebuild(block, channels, kept)
    try:
        descendant.module.load_state_dict(plain["state"])
    except RuntimeError as error:
        raise UsageError(f"the weights are not those of a descendant of this block: {one_line(error)}") from error
    return descendant


def save_descendant(path: Path, descendant: Descendant) -> None:
    """Write a descendant, weights and structure."""
    save_tensors(path, to_plain(descendant))


def load_descendant(path: Path, block: fx.GraphModule, channels: ChannelMap) -> Descendant:
    """The descendant that `save_descendant` wrote. Raises `WorkError` for a file that is missing or damaged, or has one
    of another block."""
    plain = load_tensors(path)
    try:
        return from_plain(block, channels, plain)
    except (UsageError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WorkError(f"{path}: {one_line(error)}; delete the work directory to start afresh") from error
