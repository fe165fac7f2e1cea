"""A small recipe on disk, with everything it names beside it."""

from pathlib import Path

import pytest

TOY = '''
import torch
from torch.utils.data import DataLoader, TensorDataset
from legodnn.builder.zoo.classification import resnet_cifar


def network():
    torch.manual_seed(0)
    return resnet_cifar.resnet18(width=4, classes=4)


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randn(count, 3, 16, 16, generator=generator) * 0.3
    for i, label in enumerate(labels.tolist()):
        images[i, label % 3, 4 * label : 4 * label + 4] += 1.5
    return TensorDataset(images, labels)


def train():
    return DataLoader(data(256, 1), 32, shuffle=True)


def test():
    return DataLoader(data(96, 2), 32)
'''

RECIPE = '''
[model]
factory = "toy:network"
input = [1, 3, 16, 16]

[data]
train = "toy:train"
test = "toy:test"

[blocks]
sparsity = [0, 0.5, 0.75]
round_to = 1

[distill]
epochs = 3

[profile]
compositions = 4
'''


@pytest.fixture
def recipe(tmp_path) -> Path:
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path / "toy.toml"
