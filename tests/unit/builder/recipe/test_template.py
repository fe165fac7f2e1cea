"""The recipe to start from has every key, is read as it is, and means the defaults."""

import re
from dataclasses import fields

import pytest

from legodnn.builder.cli import run
from legodnn.builder.recipe.load import load_recipe, tomllib
from legodnn.builder.recipe.schema import SECTIONS, meanings
from legodnn.builder.recipe.template import template
from legodnn.shared.errors import UsageError


def test_every_key_is_there_with_its_meaning():
    text = template()
    for name, section in SECTIONS.items():
        [part] = re.findall(rf"^\[{name}\]\n(.*?)(?:\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
        keys = [field.name for field in fields(section)]
        wanted = ["factory", "args", "kwargs", *keys[1:]] if name == "model" else keys
        assert re.findall(r"^(?:# )?(\w+) = ", part, re.MULTILINE) == wanted
        assert set(meanings(section)) == {field.name for field in fields(section)}


def test_what_is_commented_out_is_the_default_where_there_is_one():
    recipe = tomllib.loads(re.sub(r"^# (\w+ = (?!null))", r"\1", template(), flags=re.MULTILINE))
    for name, section in SECTIONS.items():
        for field in fields(section):
            if field.default not in (None, ()) and isinstance(field.default, (int, float, str, tuple)):
                given = recipe[name][field.name]
                assert (tuple(given) if isinstance(given, list) else given) == field.default


def test_new_writes_one_that_can_be_planned_and_overwrites_nothing(tmp_path, capsys):
    path = tmp_path / "my.toml"
    assert run("legodnn-build", ["new", str(path)]) == 0
    assert load_recipe(str(path)).model.input == (1, 3, 224, 224)
    assert run("legodnn-build", [str(path), "--plan"]) == 0
    assert "blocks" in capsys.readouterr().out
    written = path.read_text()
    with pytest.raises(UsageError, match="is there already"):
        run("legodnn-build", ["new", str(path)])
    assert path.read_text() == written
