"""Pruning groups as text and tables: which channels of one layer are coupled with which of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from legodnn.builder.graph.channels.map import ChannelGroup, ChannelMap

SHOWN_RUNS = 4
"""Runs of indices written out for each layer of a group, so that a line of `--plan --groups` can be read. Not tuned."""

_ROLES = {"out": "makes", "in": "reads", "carry": "scales"}


@dataclass(frozen=True)
class Member:
    """A layer's part in a group: channel 0 of the group is at indices ``first``, each next one ``step`` further.

    ``role`` is "makes", "reads" or "scales".
    """

    layer: str
    role: str
    first: tuple[int, ...]
    step: int


@dataclass(frozen=True)
class Group:
    """``channels`` prunable channels, each coupled with its own indices in every member."""

    channels: int
    members: tuple[Member, ...]

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        return {"channels": self.channels, "members": [asdict(member) for member in self.members]}

    def __str__(self) -> str:
        """``filters 0-63 of conv1 go together, one by one, with 0-63 of bn1 and inputs 0-63 of conv2``."""
        first, *others = [_words(member, self.channels) for member in self.members]
        if not others:
            return f"{first}: each on its own"
        together = "go together, one by one, with" if self.channels > 1 else "goes together with"
        return f"{first} {together} {', '.join(others[:-1])}{' and ' if others[1:] else ''}{others[-1]}"


def _words(member: Member, channels: int) -> str:
    kind = {"makes": "filters ", "reads": "inputs ", "scales": ""}[member.role]
    first, width = member.first[0], len(member.first)
    if member.first == tuple(range(first, first + width)) and (channels == 1 or member.step == width):
        where = _run(first, 1, width * channels)
    else:
        shown = [_run(start, member.step, channels) for start in member.first[:SHOWN_RUNS]]
        where = " & ".join([*shown, *(["..."] if width > SHOWN_RUNS else [])])
    each = f" ({width} each)" if width > 1 and channels > 1 else ""
    return f"{kind}{where} of {member.layer}{each}"


def _run(first: int, step: int, count: int) -> str:
    last = first + step * (count - 1)
    if count == 1:
        return f"{first}"
    return f"{first}-{last}" if step == 1 else f"{first}, {first + step} ... {last}"


def pruning_groups(channels: ChannelMap) -> list[Group]:
    """Every group of a block in graph order; channels that follow the same pattern are one group."""
    groups = []
    for group in channels.groups():
        places = _places(channels, group)
        start = 0
        for end in range(1, len(places) + 1):
            if end == len(places) or not _continues(places[start:end], places[end]):
                groups.append(_group(places[start:end]))
                start = end
    return groups


_Place = dict[tuple[str, str], tuple[int, ...]]
"""The indices of coupled channels by layer and role."""


def _places(channels: ChannelMap, group: ChannelGroup) -> list[_Place]:
    row = {int(root): i for i, root in enumerate(group.prunable.tolist())}
    found: list[dict[tuple[str, str], dict[int, None]]] = [{} for _ in row]
    for piece in channels.slices.values():
        for index, root in enumerate(channels.roots(piece.ids).tolist()):
            if root in row:
                found[row[root]].setdefault((piece.owner, piece.role), {})[index] = None
    return [
        # In the layer that makes the channels it is the bias that scales, which is left out.
        {key: tuple(indices) for key, indices in place.items() if key[1] != "carry" or (key[0], "out") not in place}
        for place in found
    ]


def _continues(run: Sequence[_Place], following: _Place) -> bool:
    """Whether the indices of coupled channels follow those of a run at the same step at which the run's follow each
    other."""
    if following.keys() != run[-1].keys():
        return False
    for key, indices in following.items():
        step = indices[0] - run[-1][key][0]
        if len(run) > 1 and step != run[-1][key][0] - run[-2][key][0]:
            return False
        if indices != tuple(i + step for i in run[-1][key]):
            return False
    return True


def _group(run: Sequence[_Place]) -> Group:
    members = []
    for (layer, role), first in run[0].items():
        step = run[1][layer, role][0] - first[0] if len(run) > 1 else 0
        members.append(Member(layer, _ROLES[role], first, step))
    order = list(_ROLES.values())
    return Group(len(run), tuple(sorted(members, key=lambda member: order.index(member.role))))
