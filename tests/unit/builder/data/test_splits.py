"""What is validated on is never trained on, in any epoch, whatever the loader is."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.splits import split
from legodnn.shared.errors import DataError


def images(count):
    """Images that are all different, and tell their number in the first pixel."""
    pixels = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    pixels[:, 0, 0, 0] = torch.arange(count).float()
    return pixels


def numbers(batches):
    return [int(x) for batch in batches for x in batch[0][:, 0, 0, 0]]


class Augmented(Dataset):
    """Images with noise from every generator a transform may draw from."""

    def __init__(self, count):
        self.images, self.read = images(count), []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.read.append(index)
        noise = torch.rand(1) + random.random() + np.random.rand()
        image = self.images[index].clone()
        image[1:] += float(noise)
        return image, index % 2


class Stream(IterableDataset):
    def __init__(self, count):
        self.images = images(count)

    def __iter__(self):
        return iter([(image, int(image[0, 0, 0]) % 2) for image in self.images])


def tensors(count):
    return TensorDataset(images(count), torch.arange(count) % 2)


def as_list(count, size=8):
    return [(x, torch.arange(len(x))) for x in images(count).split(size)]


LOADERS = {
    "in order": lambda: DataLoader(tensors(100), 8),
    "shuffled": lambda: DataLoader(tensors(100), 8, shuffle=True),
    "shuffled by a generator of its own": lambda: DataLoader(
        tensors(100), 8, shuffle=True, generator=torch.Generator().manual_seed(5)
    ),
    "a part of the indices": lambda: DataLoader(tensors(200), 8, sampler=SubsetRandomSampler(range(0, 200, 2))),
    "workers": lambda: DataLoader(tensors(100), 8, shuffle=True, num_workers=1),
    "augmented": lambda: DataLoader(Augmented(100), 8, shuffle=True),
    "a stream": lambda: DataLoader(Stream(100), 8),
    "a list of batches": lambda: as_list(100),
    "checked": lambda: CheckedLoader(DataLoader(tensors(100), 8, shuffle=True), (1, 3, 4, 4), "data.train", pairs=True),
    "one batch": lambda: [(images(100), torch.arange(100))],
}


@pytest.mark.parametrize("name", LOADERS)
def test_no_epoch_has_an_example_of_the_validation_split(name):
    data = split(LOADERS[name](), 0)
    held = numbers(data.validation())
    assert len(held) == len(set(held)) == 8
    assert numbers(data.validation()) == held
    everything = set(range(0, 200, 2)) if name == "a part of the indices" else set(range(100))
    assert set(held) < everything
    for epoch in range(3):
        assert sorted(numbers(data.training(epoch))) == sorted(everything - set(held))
    assert data.remark == ""


@pytest.mark.parametrize("name", ["shuffled", "shuffled by a generator of its own", "augmented", "checked"])
def test_every_epoch_is_another_and_the_same_when_it_is_repeated(name):
    data = split(LOADERS[name](), 0)
    epochs = [torch.cat([x for x, _ in data.training(epoch)]) for epoch in (0, 1, 0)]
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    again = split(LOADERS[name](), 0)
    assert torch.equal(torch.cat([x for x, _ in again.training(1)]), epochs[1])


def test_another_seed_sets_aside_others_and_orders_otherwise():
    first, other = split(LOADERS["shuffled"](), 0), split(LOADERS["shuffled"](), 1)
    assert set(numbers(first.validation())) != set(numbers(other.validation()))
    assert numbers(first.training(0)) != numbers(other.training(0))


def test_batches_of_indices_keep_their_size_and_are_counted():
    data = split(DataLoader(tensors(100), 8), 0)
    sizes = [len(x) for x, _ in data.training(0)]
    assert sizes == [8] * 11 + [4]
    assert data.batches == 12


def test_no_image_is_read_to_find_the_split():
    dataset = Augmented(1000)
    data = split(DataLoader(dataset, 8, shuffle=True), 0)
    assert dataset.read == []
    list(data.validation())
    assert len(dataset.read) == 80


def test_a_sampler_that_draws_with_replacement_never_draws_what_is_set_aside():
    sampler = WeightedRandomSampler(torch.ones(50), 400)
    data = split(DataLoader(tensors(50), 8, sampler=sampler), 0)
    held = set(numbers(data.validation()))
    assert len(held) == 4
    for epoch in range(3):
        assert held.isdisjoint(numbers(data.training(epoch)))


def test_a_batch_sampler_of_a_user_keeps_its_batches():
    batches = [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9]]
    data = split(DataLoader(tensors(10), batch_sampler=batches), 0)
    held = set(numbers(data.validation()))
    found = [numbers([batch]) for batch in data.training(0)]
    assert found == [kept for kept in ([i for i in batch if i not in held] for batch in batches) if kept]


class NewEveryTime:
    """A stream whose examples never come by again."""

    def __init__(self):
        self.passes = 0

    def __len__(self):
        return 10

    def __iter__(self):
        self.passes += 1
        return iter([(x + self.passes, torch.arange(8)) for x in images(80).split(8)])


def test_where_examples_do_not_come_by_again_that_is_said_once(caplog):
    data = split(NewEveryTime(), 0)
    for epoch in range(2):
        list(data.training(epoch))
    assert "0 of 6 examples of the validation split came by again" in data.remark
    assert "name data.validation" in data.remark
    assert caplog.text.count("came by again") == 1


def test_data_of_ones_own_are_the_split():
    mine = [(images(5) + 500, torch.arange(5))]
    data = split(DataLoader(tensors(100), 8, shuffle=True), 0, mine)
    assert numbers(data.validation()) == [500, 501, 502, 503, 504]
    assert sorted(numbers(data.training(0))) == list(range(100))
    assert data.batches == 13


@pytest.mark.parametrize("loader", [[], DataLoader(tensors(1), 8), [(images(1), torch.zeros(1))]])
def test_too_few_examples_are_refused(loader):
    with pytest.raises(DataError, match=r"yields no batches|at least 2 are needed"):
        split(loader, 0)


def test_two_examples_are_enough():
    data = split(DataLoader(tensors(2), 8), 0)
    assert len(numbers(data.validation())) == len(numbers(data.training(0))) == 1


def test_examples_that_are_all_equal_are_refused_with_the_way_out():
    data = split([(torch.ones(16, 3, 4, 4), torch.zeros(16))], 0)
    with pytest.raises(DataError, match=r"every example equals one in the validation split; name data\.validation"):
        list(data.training(0))
