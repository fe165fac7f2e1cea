"""Coupled channels in words: which indices of which layers go together, and where the pattern changes."""

import pytest
import torch
import torch.nn as nn

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune.groups import Group, Member, pruning_groups
from tests.networks import conv, images, network


def groups(model):
    return pruning_groups(analyse(trace(model, [images()])))


def lines(model):
    return [str(group) for group in groups(model)]


# ---- of networks ---------------------------------------------------------------------------------------------------
def test_a_group_says_which_channels_go_with_which():
    assert lines(network("gated")) == [
        "filters 0-7 of stem go together, one by one, with filters 0-7 of project, inputs 0-7 of expand and "
        "inputs 0-7 of head",
        "filters 0-23 of expand go together, one by one, with filters 0-23 of excite, inputs 0-23 of squeeze, "
        "inputs 0-23 of project, 0-23 of depth and 0-23 of norm",
        "filters 0-5 of squeeze go together, one by one, with inputs 0-5 of excite",
    ]


def test_channels_in_other_places_after_concatenation_and_in_groups_are_told_apart():
    found = lines(network("branches"))
    assert found[1:3] == [
        "filters 0-3 & 4-7 of a (2 each) go together, one by one, with filters 0-3 & 4-7 of b (2 each) and "
        "inputs 0-3 of grouped",
        "filters 0-3 & 4-7 & 8-11 & 12-15 of grouped (4 each) go together, one by one, with inputs 0-3 & 4-7 of mixed "
        "(2 each)",
    ]


def test_a_flattened_channel_goes_with_all_its_places():
    model = nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(4 * 64, 5)).eval()
    [group] = groups(model)
    assert str(group) == "filters 0-3 of 0 go together, one by one, with inputs 0-255 of 2 (64 each)"
    assert group.members[1] == Member("2", "reads", tuple(range(64)), 64)


def test_where_the_pattern_changes_a_group_ends():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8), conv(8, 4)

        def forward(self, x):
            first, second = self.a(x).split([3, 5], 1)
            return self.b(torch.cat([second, first], 1))

    assert lines(Swapped().eval()) == [
        "filters 0-2 of a go together, one by one, with inputs 5-7 of b",
        "filters 3-7 of a go together, one by one, with inputs 0-4 of b",
    ]


def test_channels_that_another_layer_reads_as_well_are_another_group():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = conv(3, 8), conv(8, 4), conv(5, 4)

        def forward(self, x):
            x = self.a(x)
            return self.b(x) + self.c(x.split([3, 5], 1)[1])

    assert lines(Partly().eval()) == [
        "filters 0-2 of a go together, one by one, with inputs 0-2 of b",
        "filters 3-7 of a go together, one by one, with inputs 3-7 of b and inputs 0-4 of c",
    ]


def test_channels_that_are_taken_in_turns_go_by_their_distance():
    class Shuffled(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(3, 8), conv(8, 4)

        def forward(self, x):
            return self.b(self.a(x).view(-1, 2, 4, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8))

    [group] = groups(Shuffled().eval())
    assert group.members == (Member("a", "makes", (0, 4), 1), Member("b", "reads", (0, 1), 2))


# ---- in words ------------------------------------------------------------------------------------------------------
def test_what_makes_comes_before_what_reads_and_what_scales():
    found = next(group for group in groups(network("gated")) if group.members[0].layer == "expand")
    assert [member.role for member in found.members] == ["makes", "makes", "reads", "reads", "scales", "scales"]


@pytest.mark.parametrize(("channels", "members", "words"), [
    (3, [Member("a", "makes", (0,), 1)], "filters 0-2 of a: each on its own"),
    (1, [Member("a", "makes", (2,), 0), Member("b", "reads", (5, 6), 0)],
     "filters 2 of a goes together with inputs 5-6 of b"),
    (2, [Member("a", "makes", (0,), 1), Member("n", "scales", (0,), 1)],
     "filters 0-1 of a go together, one by one, with 0-1 of n"),
    (4, [Member("a", "makes", (1,), 2), Member("b", "reads", (0, 8), 1)],
     "filters 1, 3 ... 7 of a go together, one by one, with inputs 0-3 & 8-11 of b (2 each)"),
    (2, [Member("a", "makes", (0, 2, 4, 6, 8), 1), Member("b", "reads", (0, 1), 2)],
     "filters 0-1 & 2-3 & 4-5 & 6-7 & ... of a (5 each) go together, one by one, with inputs 0-3 of b (2 each)"),
    (2, [Member("a", "makes", (0, 2, 4, 6), 1), Member("b", "reads", (0, 1), 3)],
     "filters 0-1 & 2-3 & 4-5 & 6-7 of a (4 each) go together, one by one, with inputs 0, 3 ... 3 & 1, 4 ... 4 of b "
     "(2 each)"),
])  # fmt: skip
def test_indices_are_written_as_runs(channels, members, words):
    assert str(Group(channels, tuple(members))) == words


def test_a_group_is_plain_data_in_a_plan():
    group = Group(2, (Member("a", "makes", (0,), 1),))
    assert group.to_plain() == {
        "channels": 2, "members": [{"layer": "a", "role": "makes", "first": (0,), "step": 1}],
    }  # fmt: skip
    assert len({group, Group(2, (Member("a", "makes", (0,), 1),))}) == 1
