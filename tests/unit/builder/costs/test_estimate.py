"""What `--plan` says a build takes, held against what a build then took."""

import json
import sys

import pytest

from legodnn.builder.__main__ import main
from legodnn.builder.costs.estimate import estimate
from legodnn.builder.costs.loaders import LoaderSize
from legodnn.builder.costs.network import NetworkWork, Part
from legodnn.builder.recipe.load import load_recipe

COUNTED = """
import torch
from torch.utils.data import DataLoader, Dataset

READ = {"train": 0, "test": 0}


class Counted(Dataset):
    def __init__(self, name, count):
        self.name = name
        self.images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        READ[self.name] += 1
        return self.images[index], index % 4


def batches(name, count):
    return DataLoader(Counted(name, count), 10, shuffle=name == "train")


def stream(name, count):
    class Stream:
        def __iter__(self):
            return iter(batches(name, count))

    return Stream()


def learn(network, loader, settings):
    for _ in range(settings.epochs):
        for _ in loader:
            network[0].weight.data += 0.001
"""

DATA = """
[data]
train = { factory = "counted:batches", args = ["train", 200] }
test = { factory = "counted:batches", args = ["test", 50] }
[teacher]
train = "counted:learn"
epochs = 3
[blocks]
sparsity = [0, 0.25, 0.5]
max_ratio = 0.5
[distill]
epochs = 2
closed_form_images = 40
[profile]
compositions = 3
"""


@pytest.fixture
def recipe(folder):
    folder.write("counted.py", COUNTED)
    return folder.write("counted.toml", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n' + DATA)


def planned(capsys, recipe, *options):
    assert main([str(recipe), "--plan", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)["build"]


@pytest.mark.parametrize("options", [[], ["--set", "distill.epochs=0"], ["--set", "profile.images=20"]])
def test_passes_over_the_data_are_those_of_the_build(folder, recipe, capsys, options):
    costs = planned(capsys, recipe, *options)
    assert (costs["train"]["images"], costs["test"]["images"]) == (200, 20 if "profile.images=20" in options else 50)
    read = sys.modules["counted"].READ
    read.update(train=0, test=0)
    out = folder.path / "o.lgb"
    assert main([str(recipe), "-o", str(out), "--no-timing", *options]) == 0
    assert costs["teacher_passes"] == 3
    # Some batches are read when loaders are opened, for the samples, and to the end of the calibration.
    assert read["train"] / 200 == pytest.approx(costs["teacher_passes"] + costs["train_passes"], abs=0.3)
    images, four_batches = costs["test"]["images"], 40
    assert read["test"] / images == pytest.approx(costs["test_passes"], abs=four_batches / images)
    assert out.stat().st_size <= costs["disk"]["bundle"]
    work = sum(file.stat().st_size for file in folder.path.glob("o.lgb.work/**/*") if file.is_file())
    assert work <= costs["disk"]["work"]


def test_a_plan_names_time_memory_and_disk(recipe, capsys):
    assert main([str(recipe), "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("what a build from nothing takes on this machine, about:")
    data, test, time, memory, disk = lines[first + 1 :]
    assert data.startswith("  data.train  200 images in batches of 10; 3 passes to train the teacher, ")
    assert test.startswith("  data.test   50 images in batches of 10; ")
    assert all(f"{stage} " in time for stage in ("teacher", "distill", "profile"))
    assert memory.endswith("at its peak")
    assert "in the work directory" in disk


MILLION = Part(weight_bytes=100, flops=1e6, values_bytes=10, live_bytes=5)
HALF = Part(weight_bytes=50, flops=5e5, values_bytes=10, live_bytes=5)
BOTH, PRUNED = {"a": MILLION, "b": MILLION}, {"a": HALF, "b": HALF}
WORK = NetworkWork(BOTH, {"sparsity=0.5": PRUNED}, seconds=0.01, boundary_bytes=5)


def costs_of(recipe, *options, batch=10):
    size = LoaderSize(1000, batch, 0.0)
    return estimate(load_recipe(str(recipe), options), WORK, size, size, resident=0)


def test_seconds_are_the_work_at_the_teachers_rate(folder):
    """The teacher takes 10 ms an image, both descendants together 5 ms, and 15 ms for a step of training."""
    small, longer = (costs_of(folder.recipe, f"distill.epochs={epochs}") for epochs in (1, 11))
    assert longer.seconds["distill"] - small.seconds["distill"] == pytest.approx(10 * 920 * (0.01 + 0.015))
    twelve, two = (costs_of(folder.recipe, f"profile.compositions={count}") for count in (12, 2))
    assert twelve.seconds["profile"] - two.seconds["profile"] == pytest.approx(10 * 1000 * (0.01 + 0.005) / 2)
    assert "teacher" not in small.seconds


def test_larger_batches_take_more_memory_and_half_precision_half_the_bundle(folder):
    assert costs_of(folder.recipe, batch=1000).memory_bytes > costs_of(folder.recipe).memory_bytes
    assert costs_of(folder.recipe, "bundle.precision=fp16").disk.bundle < costs_of(folder.recipe).disk.bundle


def test_a_loader_without_a_length_leaves_the_time_open(recipe, capsys):
    options = ["--set", "data.train.factory=counted:stream"]
    costs = planned(capsys, recipe, *options)
    assert costs["train"]["images"] is costs["train_passes"] is costs["seconds"] is None
    assert main([str(recipe), "--plan", *options]) == 0
    assert "not known, since a loader does not know its length" in capsys.readouterr().out


def test_a_plan_is_shown_where_the_data_cannot_be_used(recipe, capsys):
    assert main([str(recipe), "--plan", "--json", "--set", "data.test.args=['test', 0]"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["build"] is None
    assert err == "legodnn-build: what a build takes is not known: data.test: the loader yields no batches\n"
