"""What the documents say is true: generated parts are current, names and files exist, blocks run."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn as nn
from torchvision.models import resnet18

import legodnn.builder
import legodnn.runtime
from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune.derive import derive
from legodnn.builder.recipe.load import load_recipe, tomllib
from legodnn.runtime import Schedule
from tests.docs import commands, shell, substitutions
from tests.docs.documents import (
    DOCUMENTS,
    ROOT,
    anchors,
    blocks,
    file_shown,
    generated_parts,
    links,
    prose,
    read,
    with_generated,
)
from tests.docs.generated import contents, recipe_keys
from tests.unit.builder.conftest import modules_forgotten
from tests.unit.runtime.commands import memory_by_tables

README_LINES = 200
NOT_RUN = 5
LANGUAGES = {"", "python", "sh", "console", "toml", "csv", "text", "bibtex"}

ALL = "\n".join(map(read, DOCUMENTS))


# ---- documents ------------------------------------------------------------------------------------------------------
def test_every_document_exists():
    assert [name for name in DOCUMENTS if not (ROOT / name).is_file()] == []


def test_the_readme_is_short():
    assert len(read("README.md").splitlines()) <= README_LINES


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    assert [target for target in links(read(document)) if "://" not in target and not leads(document, target)] == []


def leads(document, target):
    """Whether a link of a document leads to a file, or to a heading of it."""
    file, _, anchor = target.partition("#")
    path = (ROOT / document).parent / file if file else ROOT / document
    return path.exists() and (not anchor or anchor in anchors(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_it_names_exists(document):
    tops = "|".join(p.name for p in ROOT.iterdir() if p.is_dir() and p.name != ".git")
    text = re.sub(r"\bMAJOR\.MINOR\b|\bNAME\b", "*", prose(read(document)))
    named = re.findall(rf"(?<![\w./])(?:(?:{tops})/[\w./*-]*[\w*])", text)
    assert [name for name in named if not list(ROOT.glob(name))] == []


# ---- references -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("document", DOCUMENTS)
def test_generated_parts_are_current(document):
    text = read(document)
    assert text == with_generated(text, contents()), "stale; run: python -m tests.docs --write"


def test_the_references_are_in_a_document():
    found = {name for document in DOCUMENTS for name, _ in generated_parts(read(document))}
    assert found == set(contents())


def test_every_key_of_a_recipe_is_documented():
    assert [key for key in recipe_keys() if f"`{key}`" not in ALL] == []


def test_every_public_name_of_the_builder_is_documented():
    assert [name for name in legodnn.builder.__all__ if not re.search(rf"\b{name}\b", ALL)] == []


def test_every_public_name_of_the_runtime_is_documented():
    assert [name for name in legodnn.runtime.__all__ if not re.search(rf"\b{name}\b", ALL)] == []


@pytest.mark.parametrize("command", commands.entry_points())
def test_every_option_is_documented(command):
    missing = [name for name in commands.options(command) if not re.search(rf"{name}(?![\w-])", ALL)]
    assert set(missing) <= {"--help"}


def test_parsers_of_both_commands_are_found():
    assert set(commands.entry_points()) == {"legodnn-build", "legodnn-run"}
    assert "--plan" in commands.options("legodnn-build")
    assert "--memory" in commands.options("legodnn-run")


def test_a_stale_part_is_found_and_an_unknown_one_refused():
    text = "a\n<!-- generated: one -->\nold\n<!-- end -->\nb"
    assert generated_parts(text) == [("one", "old\n")]
    assert with_generated(text, {"one": "new\n"}) == text.replace("old", "new")
    with pytest.raises(KeyError):
        with_generated(text, {})


# ---- blocks ---------------------------------------------------------------------------------------------------------
def test_few_blocks_do_not_run_and_say_why():
    reasons = [block.not_run for document in DOCUMENTS for block in blocks(document) if block.not_run is not None]
    assert len(reasons) <= NOT_RUN
    assert all(reasons)


def test_every_block_has_a_language_that_is_checked():
    languages = {(block.place, block.language) for document in DOCUMENTS for block in blocks(document)}
    assert [place for place, language in languages if language not in LANGUAGES] == []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """What all documents share: data, what was measured on this device, and the threads there were."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("FASHION_MNIST", str(folder))
        substitutions.fashion(folder)
        for bundle in ("image-classification", *substitutions.BUNDLES.values()):
            memory_by_tables(substitutions.GOLDEN / f"{bundle}.lgb")
        yield folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_blocks_run_from_top_to_bottom(document, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads, names = torch.get_num_threads(), substitutions.names()
    with modules_forgotten(tmp_path):
        for block in blocks(document):
            try:
                run(block, names)
            finally:
                torch.set_num_threads(threads)
    for value in names.values():
        if isinstance(value, legodnn.runtime.Network):
            value.close()


def run(block, names):
    """Run a block in the current folder; whole files are written into it."""
    if block.not_run is not None:
        return
    if block.file is not None:
        substitutions.show(block.file)
    elif block.language == "python":
        lines = "\n" * (block.line - 1)
        exec(compile(lines + block.text, block.document, "exec"), names)
    elif block.language in ("sh", "console"):
        shell.run(block)
    elif block.language == "toml":
        assert tomllib.loads(block.text)
    elif block.language == "csv":
        Path("budgets.csv").write_text(block.text, encoding="utf-8")
        assert Schedule.from_file("budgets.csv").read() is not None


# ---- what single blocks say -----------------------------------------------------------------------------------------
def test_the_recipe_is_one_and_its_cuts_name_modules(tmp_path):
    [cuts] = [b.text for b in blocks("builder/README.md") if b.language == "toml" and "whole = " in b.text]
    path = tmp_path / "my.toml"
    path.write_text(file_shown("my.toml") + cuts)
    (tmp_path / "resnet.pt").touch()
    recipe = load_recipe(str(path))
    assert recipe.model.input == (1, 3, 224, 224)
    known = [name for name, _ in resnet18(weights=None).named_modules()]
    for modules in (recipe.blocks.whole, recipe.blocks.dense, recipe.blocks.boundaries):
        assert modules
        assert set(modules) <= set(known)


def test_the_channel_rule_makes_channels_prunable():
    [text] = [b.text for b in blocks("builder/README.md") if "channel_rule(" in b.text]
    names = {}
    exec(text, names)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), names["Gain"](8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3)).eval()
    block = trace(model, [torch.randn(1, 3, 16, 16)])
    descendant = derive(block, analyse(block), 0.5, round_to=1).module
    assert descendant.get_submodule("1").gain.shape == (4, 1, 1)
    assert descendant(torch.randn(1, 3, 16, 16)).shape == (1, 4, 10, 10)


def test_the_guide_has_every_section_of_the_report():
    template = (ROOT / "builder" / "report" / "templates" / "page.html.j2").read_text(encoding="utf-8")
    headings = [heading.partition("{%")[0] for heading in re.findall(r"<h2[^>]*>(.*?)</h2>", template)]
    assert headings
    assert [heading for heading in headings if f"| {heading}" not in read("builder/README.md")] == []


def test_an_output_that_is_no_longer_printed_is_found():
    shell._check_output(["time 5 ms", "..."], "time 0.3 us\nmore\n")
    with pytest.raises(AssertionError, match="no longer printed"):
        shell._check_output(["times 5 ms"], "time 0.3 us\n")
