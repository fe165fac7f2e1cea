"""How much data a loader has: as many as a pass reads, where that can be known without one."""

import pytest
import torch
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from legodnn.builder.costs.loaders import size_of
from legodnn.builder.data.checked import CheckedLoader


def examples(count):
    return TensorDataset(torch.zeros(count, 3, 4, 4), torch.zeros(count))


def stream(count):
    """Batches of 8 from something that has no length."""

    class Stream:
        def __iter__(self):
            return iter(DataLoader(examples(count), 8))

    return Stream()


@pytest.mark.parametrize(
    ("loader", "images"),
    [
        (DataLoader(examples(21), 8, shuffle=True), 21),
        (DataLoader(examples(21), 8, drop_last=True), 16),
        (DataLoader(examples(21), 8, sampler=SubsetRandomSampler(range(13))), 13),
        (list(DataLoader(examples(21), 8)), 21),
        (list(DataLoader(examples(80), 8)), 80),
        (stream(21), None),
    ],
)
def test_the_examples_of_a_pass_are_counted(loader, images):
    before = torch.get_rng_state()
    found = size_of(CheckedLoader(loader, (1, 3, 4, 4), "data.train"))
    assert (found.images, found.batch) == (images, 8)
    assert found.seconds > 0
    assert torch.equal(torch.get_rng_state(), before)
