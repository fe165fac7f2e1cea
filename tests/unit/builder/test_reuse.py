"""Every result is made from what it says: one change each, and just the stages that depend on it are made again."""

import json
import shutil

import pytest
import torch

from legodnn.builder.__main__ import main
from tests.unit.builder.conftest import Folder, modules_forgotten

MODEL = """
import torch
import torch.nn as nn
from legodnn.builder.graph.channels.rules import channel_rule
from helper import activation


class Scale(nn.Module):
    def forward(self, x):
        return x * 1.5


@channel_rule(Scale)
def scale_rule(channels, node, module):
    return channels.tags[node.args[0]]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), activation(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU6(), Scale(),
        nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )
"""

CODE = {
    "scaled.py": MODEL,
    "helper.py": "import torch.nn as nn\n\ndef activation():\n    return nn.ReLU()\n",
    "learn.py": "def learn(model, loader, settings):\n    model[0].bias.data += 0.25\n",
    "loaders.py": """
        import torch

        def batches(shift=0.0):
            generator = torch.Generator().manual_seed(1)
            return [(torch.randn(8, 3, 8, 8, generator=generator) + shift, torch.arange(8) % 2) for _ in range(4)]
    """,
    "judge.py": """
        import torch
        from legodnn.builder import CommonModelManager

        class Judge(CommonModelManager):
            metric = "hits"

            def get_model_acc(self, model, test_loader, device):
                return super().get_model_figures(model, test_loader, device)["top-1 accuracy"]

        class Other(Judge):
            pass
    """,
}

RECIPE = """
manager = "judge:Judge"
[model]
factory = "scaled:network"
input = [1, 3, 8, 8]
[teacher]
train = "learn:learn"
[data]
train = "loaders:batches"
test = "loaders:batches"
[blocks]
sparsity = [0, 0.5]
round_to = 1
max_ratio = 0.5
[distill]
epochs = 1
[profile]
compositions = 2
"""

ALL = {"teacher", "extract", "distill", "profile"}


class Project(Folder):
    """A network with everything of its own, and builds of it that say which stages they made."""

    def __init__(self, path):
        super().__init__(path)
        for name, text in CODE.items():
            self.write(name, text)
        self.recipe = self.write("own.toml", RECIPE)
        self.work = path / "work"

    def made(self, *options, out="x.lgb"):
        """Build; the stages that were made."""
        before = self._marks()
        with modules_forgotten(self.path):
            where = ["-o", str(self.path / out), "--work", str(self.work)]
            status = main([str(self.recipe), *where, "--no-timing", *options])
        assert status == 0
        return {name for name, mark in self._marks().items() if before.get(name) != mark}

    def _marks(self):
        """The run that made each part of each stage."""
        names = {"compressed": "extract", "trained": "distill", "profile": "profile", "teacher": "teacher"}
        found = {}
        for mark in self.work.rglob("stage.json"):
            place = mark.parent.relative_to(self.work).parts
            name = names[place[-1] if place[-1] in names else place[0]]
            found.setdefault(name, []).append(json.loads(mark.read_text())["run"])
        return {name: sorted(map(str, runs)) for name, runs in found.items()}

    def replace(self, file, old, new):
        """Change a text that is in a file."""
        text = (self.path / file).read_text()
        assert old in text
        (self.path / file).write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def save_weights(project, value):
    with modules_forgotten(project.path):
        import sys

        sys.path.insert(0, str(project.path))
        from scaled import network

        model = network()
        model[0].bias.data += value
        torch.save(model.state_dict(), project.path / "weights.pt")


CHANGES = {
    "a sparsity": (None, ["--set", "blocks.sparsity=[0, 0.25, 0.5]"], {"extract", "distill", "profile"}),
    "another seed": (None, ["--seed", "1"], {"teacher", "distill", "profile"}),
    "another importance": (None, ["--set", "blocks.importance=throughput"], {"extract", "distill", "profile"}),
    "other arguments of the data": (
        None, ["--set", "data.train.kwargs.shift=0.5"], {"teacher", "distill", "profile"},
    ),
    "another version of the data": (None, ["--set", "data.train.version=v2"], {"teacher", "distill", "profile"}),
    "other test data": (None, ["--set", "data.test.kwargs.shift=0.5"], {"profile"}),
    "fewer images of the test data": (None, ["--set", "profile.images=8"], {"profile"}),
    "data to validate on": (None, ["--set", "data.validation=loaders:batches"], {"distill", "profile"}),
    "another manager": (None, ["--set", "manager=judge:Other"], {"distill", "profile"}),
    "the metric's code": (("judge.py", '["top-1 accuracy"]', '["top-1 accuracy"] / 2'), [], {"distill", "profile"}),
    "the code of the data": (("loaders.py", "manual_seed(1)", "manual_seed(2)"), [], {"teacher", "distill", "profile"}),
    "the code that trains the teacher": (("learn.py", "0.25", "0.5"), [], ALL),
    "a module without weights": (("scaled.py", "nn.ReLU6()", "nn.Hardtanh()"), [], ALL),
    "a module that the factory imports": (("helper.py", "nn.ReLU()", "nn.Hardtanh()"), [], ALL),
    "an own module's code": (("scaled.py", "x * 1.5", "x * 2.5"), [], ALL),
    "a channel rule": (
        ("scaled.py", "return channels.tags[node.args[0]]", "return None"), [], ALL,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_makes_the_stages_again_that_depend_on_it(project, name):
    assert project.made() == ALL
    edit, options, expected = CHANGES[name]
    if edit:
        project.replace(*edit)
    assert project.made(*options) == expected
    assert project.made(*options) == set()


def test_other_weights_make_all_stages_again(project):
    save_weights(project, 0.0)
    given = ("--set", f"model.weights={project.path / 'weights.pt'}")
    assert project.made(*given) == ALL - {"teacher"}
    save_weights(project, 0.5)
    assert project.made(*given) == ALL - {"teacher"}
    (project.path / "weights.pt").rename(project.path / "moved.pt")
    assert project.made("--set", f"model.weights={project.path / 'moved.pt'}") == set()


def test_another_torch_makes_all_stages_again(project, monkeypatch):
    assert project.made() == ALL
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    assert project.made() == ALL


def test_another_sparsity_trains_only_that_one_and_gives_the_bundle_of_a_build_from_nothing(project):
    project.made()
    kept = (project.work / "trained" / "sparsity=0.5" / "stage.json").read_bytes()
    both = ("--set", "blocks.sparsity=[0, 0.25, 0.5]")
    project.made(*both)
    assert (project.work / "trained" / "sparsity=0.5" / "stage.json").read_bytes() == kept
    after = (project.path / "x.lgb").read_bytes()
    shutil.rmtree(project.work)
    project.made(*both)
    assert (project.path / "x.lgb").read_bytes() == after


def test_what_changes_nothing_repeats_nothing(project):
    assert project.made() == ALL
    before = (project.path / "x.lgb").read_bytes()
    assert project.made() == set()
    assert project.made(out="y.lgb") == set()
    project.recipe.write_text(project.recipe.read_text() + "# a comment\n")
    project.replace("scaled.py", "class Scale", "# a comment\nclass Scale")
    moved = project.path / "elsewhere"
    project.work.rename(moved)
    project.work = moved
    assert project.made() == set()
    assert (project.path / "x.lgb").read_bytes() == (project.path / "y.lgb").read_bytes() == before


def test_a_change_is_named_with_the_stages_that_it_makes_again(project, capsys):
    project.made()
    capsys.readouterr()
    project.made("--set", "distill.epochs=2")
    assert "distill.epochs changed: distill, profile again" in capsys.readouterr().err
    project.replace("learn.py", "0.25", "0.5")
    project.made("--set", "distill.epochs=2")
    lines = capsys.readouterr().err.splitlines()
    assert "code of teacher.train: learn changed: teacher again" in lines
    assert "network's weights changed: extract, distill, profile again" in lines


def test_explain_says_what_would_be_made_and_makes_nothing(project, capsys):
    explain = [str(project.recipe), "-o", str(project.path / "x.lgb"), "--work", str(project.work), "--explain"]
    with modules_forgotten(project.path):
        assert main(explain) == 0
    assert not project.work.exists()
    assert "teacher: to be made" in capsys.readouterr().out
    project.made()
    capsys.readouterr()
    before = project._marks()
    with modules_forgotten(project.path):
        assert main([*explain, "--set", "data.test.kwargs.shift=1.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "teacher: taken from before", "extract: taken from before", "distill: taken from before",
        "profile: again, data.test changed",
    ]  # fmt: skip
    assert project._marks() == before
