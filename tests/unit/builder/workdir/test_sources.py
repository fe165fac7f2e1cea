"""The source code that a function runs: its module's, and that of all it imports of a user's own."""

import sys

import pytest

from legodnn.builder.workdir.sources import sources, sources_of


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "top.py": "import torch, json\nimport helper\nfrom inner import part\nfrom inner.deep import thing as other\n"
                  "def f():\n    import late\n",
        "helper.py": "import importlib\nX = importlib.import_module('named')\nY = __import__('called.inside')\n",
        "named.py": "", "called/__init__.py": "", "called/inside.py": "", "late.py": "Y = 1\n", "unused.py": "Z = 1\n",
        "inner/__init__.py": "from . import sibling\n", "inner/part.py": "from ..inner import cousin\n",
        "inner/sibling.py": "", "inner/cousin.py": "import top\n", "inner/deep/__init__.py": "",
        "inner/deep/thing.py": "from .. import uncle\nfrom legodnn.builder import pack\n", "inner/uncle.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


OWN = {
    "top", "helper", "late", "inner", "inner.part", "inner.sibling", "inner.cousin", "inner.deep", "inner.deep.thing",
    "inner.uncle", "named", "called", "called.inside",
}  # fmt: skip


def test_all_that_is_imported_counts_but_for_libraries(project):
    assert set(sources("top")) == OWN


def test_nothing_is_executed(project):
    (project / "helper.py").write_text("raise SystemExit('run')\n")
    assert "helper" in sources("top")
    assert "helper" not in sys.modules


@pytest.mark.parametrize("name", ["helper", "late", "inner/uncle"])
def test_code_counts_and_comments_do_not(project, name):
    before = sources("top")
    path = project / f"{name}.py"
    path.write_text("# a comment\n\n" + path.read_text() + "   # another\n")
    assert sources("top") == before
    path.write_text(path.read_text() + "\nW = 2\n")
    after = sources("top")
    assert {module for module in before if before[module] != after[module]} == {name.replace("/", ".")}


def test_a_file_with_an_error_in_it_is_known_by_its_bytes(project):
    (project / "late.py").write_text("def (\n")
    before = sources("top")
    (project / "late.py").write_text("def [\n")
    assert sources("top")["late"] != before["late"]


def test_modules_that_are_missing_are_left_out(project):
    (project / "late.py").write_text("import not_installed.at_all\n")
    assert set(sources("top")) == OWN
    assert sources("nowhere") == {}


def test_libraries_and_legodnn_are_known_by_versions():
    import json

    import torch

    from legodnn.builder import pack

    for thing in (json.dumps, torch.nn.ReLU, pack, len):
        assert sources_of(thing) == {}


def test_a_function_without_a_file_is_known_by_its_code():
    def made(text, **names):
        exec(text, names)
        return sources_of(names["f"])

    for names in ({"__name__": "notebook"}, {}):
        assert made("def f():\n    return 1\n", **names) == made("def f():\n    return 1\n", **names)
        assert made("def f():\n    return 1\n", **names) != made("def f():\n    return 2\n", **names)
