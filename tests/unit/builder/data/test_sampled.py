"""Some of a loader's examples: as many as asked for, by the seed, the same ones in every pass."""

import logging

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.data.sampled import sampled

COUNT, SHAPE = 20, (1, 3, 4, 4)


def examples(count=COUNT):
    """Images that tell their number in the first pixel, and their numbers as labels."""
    pixels = torch.zeros(count, *SHAPE[1:])
    pixels[:, 0, 0, 0] = torch.arange(count).float()
    return TensorDataset(pixels, torch.arange(count))


def of_torch(**options):
    return CheckedLoader(DataLoader(examples(), 8, **options), SHAPE, "data.test")


def in_a_list():
    return CheckedLoader(list(DataLoader(examples(), 8)), SHAPE, "data.test")


def numbers(loader):
    found = [(x[0, 0, 0].item(), int(y)) for images, labels in loader for x, y in zip(images, labels, strict=True)]
    assert all(pixel == label for pixel, label in found)
    return [label for _, label in found]


@pytest.mark.parametrize("options", [{}, {"shuffle": True}], ids=["in order", "shuffled"])
def test_a_data_sets_examples_are_drawn_by_the_seed_and_are_the_same_in_every_pass(options):
    found = sampled(of_torch(**options), 11, 3, "profile.images")
    first = numbers(found)
    assert (len(first), len(set(first)), len(found)) == (11, 11, 2)
    assert first == numbers(found) == sorted(first) != list(range(11))
    assert numbers(sampled(of_torch(), 11, 3, "profile.images")) == first
    assert numbers(sampled(of_torch(), 11, 4, "profile.images")) != first


def test_of_other_loaders_they_are_the_first_the_last_batch_cut():
    found = sampled(in_a_list(), 11, 3, "profile.images")
    assert numbers(found) == numbers(found) == list(range(11))
    assert len(found) == 2
    assert numbers(sampled(in_a_list(), 16, 3, "profile.images")) == list(range(16))


@pytest.mark.parametrize("make", [of_torch, in_a_list])
def test_all_are_taken_where_there_are_no_more(make):
    assert numbers(sampled(make(), COUNT + 5, 3, "profile.images")) == list(range(COUNT))


def test_what_is_taken_is_said_with_its_standard_error(caplog):
    with caplog.at_level(logging.INFO):
        sampled(of_torch(), 16, 0, "profile.images")
        sampled(in_a_list(), 4, 0, "profile.images")
    error = "the standard error of a share of them is at most"
    assert caplog.messages == [
        f"profile.images: 16 of the 20 examples in data.test are judged, drawn by the seed; {error} 12.50 points",
        f"profile.images: at most the first 4 of data.test are judged; {error} 25.00 points",
    ]


def test_the_checks_of_the_loader_stay():
    loader = of_torch()
    loader.classes = 5
    assert sampled(loader, 11, 3, "profile.images").classes == 5
