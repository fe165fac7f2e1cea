"""What the README says is true: its tables match the code, its commands parse, its Python runs."""

import asyncio
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import torch.nn as nn
from torchvision.models import resnet18 as resnet18_of_torchvision

from legodnn.builder import cli
from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune.derive import derive
from legodnn.builder.recipe.load import load_recipe, tomllib
from legodnn.builder.recipe.schema import DEFAULT_MANAGER, SECTIONS
from legodnn.builder.zoo.classification.resnet_cifar import resnet18
from legodnn.runtime import Budget, Schedule
from legodnn.runtime.command import run
from legodnn.shared.bundle.format import HEADER, MAGIC
from tests.unit.builder.conftest import PARTS

TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def fences(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def file_shown(name, language):
    """A whole file that the README shows, which begins with its name."""
    [text] = [text for text in fences(language) if text.startswith(f"# {name}\n")]
    return text


def documented():
    """Keys of the recipe table with their defaults as text."""
    table = TEXT.partition("## Recipes")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        keys, values = (re.findall(r"`([^`]*)`", cell) or [cell] for cell in row)
        yield from zip(keys, values * len(keys) if len(values) == 1 else values, strict=True)


def test_the_recipe_table_has_every_key_and_its_default():
    found = dict(documented())
    assert json.loads(found.pop("manager")) == DEFAULT_MANAGER
    assert (found.pop("model.args"), found.pop("model.kwargs")) == ("[]", "{}")
    for section, kind in SECTIONS.items():
        for field in fields(kind):
            text = found.pop(f"{section}.{field.name}")
            if field.default is MISSING:
                assert text == "required"
            elif field.default is None:
                assert text in ("none", "for building")
            else:
                assert tomllib.loads(f"x = {text}")["x"] == json.loads(json.dumps(field.default))
    assert not found


def test_its_recipe_is_one(tmp_path):
    text, cuts = file_shown("my.toml", "toml"), next(text for text in fences("toml") if "whole = " in text)
    path = tmp_path / "my.toml"
    path.write_text(text + cuts)
    recipe = load_recipe(str(path))
    assert recipe.model.input == (1, 3, 224, 224)
    known = [name for name, _ in resnet18_of_torchvision(weights=None).named_modules()]
    for modules in (recipe.blocks.whole, recipe.blocks.dense, recipe.blocks.boundaries):
        assert modules
        assert set(modules) <= set(known)


def test_its_rule_for_an_operation_lets_its_channels_go():
    text, *_ = fences("python")
    names = {}
    exec(text, names)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), names["Gain"](8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3)).eval()
    block = trace(model, [torch.randn(1, 3, 16, 16)])
    descendant = derive(block, analyse(block), 0.5, round_to=1).module
    assert descendant.get_submodule("1").gain.shape == (4, 1, 1)
    assert descendant(torch.randn(1, 3, 16, 16)).shape == (1, 4, 10, 10)


def test_its_commands_have_the_options_it_shows():
    for line in "\n".join(fences("sh")).splitlines():
        name, *arguments = line.partition("#")[0].split() or [""]
        if name == "legodnn-build":
            cli.parser(name).parse_args(arguments)
        elif name == "legodnn-run":
            run.parser("x").parse_args(arguments)
    for name, parser in (("legodnn-build", cli.parser("x")), ("legodnn-run", run.parser("x"))):
        [synopsis] = re.findall(rf"^`{name} (.*?)`$", TEXT, re.MULTILINE)
        options = parser.format_help()
        assert all(option in options for option in re.findall(r"--?[a-z-]+", synopsis))


def test_its_format_table_is_the_format():
    assert MAGIC.hex(" ").upper() in TEXT
    assert f"{HEADER.size}      32    SHA-256" in TEXT


def test_its_schedule_is_one(tmp_path):
    (tmp_path / "budgets.csv").write_text(fences("csv")[0])
    assert Schedule.from_file(tmp_path / "budgets.csv").read() == Budget(0.01, int(12.5 * 2**20))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_python_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = {}
    exec(PARTS, parts)
    loader = parts["batches"](shape=(3, 32, 32))
    names = {"teacher_model": resnet18(8, 4).eval(), "train_loader": loader, "test_loader": loader}
    whole_files = [file_shown("own.py", "python")]
    for code in [code for code in fences("python")[1:] if code not in whole_files]:
        exec(code, names)
    [decision] = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert json.loads(decision)["reason"] == "start"
    assert names["scores"].shape == (len(names["inputs"][0]), 4)
    assert "original" in capsys.readouterr().out
    for name in ("network", "door", "street"):
        names[name].close()
    assert names["fastest"].accuracy >= names["choice"].accuracy - 0.01
    assert 0 < names["together"].utilisation <= 1
    frames = [torch.randn(1, 3, 32, 32) for _ in range(5)]
    assert set(names["watch"]("network.lgb", frames)) <= set(range(4))
    answers, choice = asyncio.run(serve(names["Service"]("network.lgb"), frames))
    assert [answer.shape for answer in answers] == [(1, 4)] * len(frames)
    assert choice.memory_bytes <= 3 * 2**20


async def serve(service, frames):
    """Answers to frames while the service switches, and what it chose."""
    try:
        *answers, choice = await asyncio.gather(*map(service.answer, frames), service.use_at_most(3 * 2**20))
        return answers, choice
    finally:
        service.close()
