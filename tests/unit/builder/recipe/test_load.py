"""Recipes: what is read, what is overridden, and every mistake at once."""

import codecs
import inspect

import pytest

from legodnn.builder import AutoBlockManager, BlockProfiler, BlockRetrainer
from legodnn.builder.prune import importance
from legodnn.builder.recipe.load import builtin_recipes, load_recipe
from legodnn.builder.recipe.schema import (
    DEFAULT_MANAGER,
    IMPORTANCE,
    BlocksSection,
    Call,
    DistillSection,
    ProfileSection,
)
from legodnn.shared.bundle.format import MAGIC
from legodnn.shared.errors import RecipeError


def mistakes(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path), overrides)
    assert all("\n" not in line for line in caught.value.mistakes)
    return caught.value.mistakes


def test_the_smallest_recipe_has_defaults_for_everything_else(folder):
    path = folder.write("least.toml", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n')
    recipe = load_recipe(str(path))
    assert recipe.name == "least"
    assert recipe.folder == folder.path
    assert recipe.model.factory == Call("parts:network")
    assert recipe.manager == Call(DEFAULT_MANAGER)
    assert recipe.data.train is None
    assert recipe.blocks.sparsity == (0, 0.2, 0.4, 0.6, 0.8)
    assert recipe.blocks.max_ratio == 0.125
    assert recipe.bundle.precision == "fp32"


@pytest.mark.parametrize(
    ("kind", "section", "names"),
    [
        (BlockRetrainer, DistillSection, {"learning_rate": "learning_rate", "closed_form_images":
        "closed_form_images"}), (BlockProfiler, ProfileSection, {"compositions": "compositions"}), (AutoBlockManager,
        BlocksSection, {"compress_layer_max_ratio": "max_ratio", "round_to": "round_to"}),
    ],
)
def test_classes_and_recipes_have_the_same_defaults(kind, section, names):
    parameters = inspect.signature(kind).parameters
    assert {key: parameters[name].default for name, key in names.items()} == {
        key: getattr(section(), key) for key in names.values()
    }


def test_every_section_is_read(folder):
    path = folder.write(
        "whole.toml",
        """
        manager = "legodnn.builder.managers:CommonModelManager"
        [model]
        factory = "parts:network"
        args = [7]
        kwargs = { width = 32 }
        weights = "w.pt"
        input = [2, 3, 8, 8]
        [data]
        train = { factory = "parts:batches", kwargs = { count = 2 } }
        test = "parts:batches"
        [blocks]
        sparsity = [0, 0.5]
        max_ratio = 1
        round_to = 4
        importance = "l2"
        [distill]
        epochs = 0
        learning_rate = 0.01
        closed_form_images = 64
        [profile]
        compositions = 5
        [bundle]
        precision = "fp16"
        labels = ["cat", "dog"]
        mean = [0, 0, 0]
        std = [1, 1, 1]
        samples = 3
        """,
    )
    folder.write("w.pt", "")
    recipe = load_recipe(str(path))
    assert recipe.model.factory == Call("parts:network", (7,), {"width": 32})
    assert recipe.model.weights == folder.path / "w.pt"
    assert recipe.data.train == Call("parts:batches", (), {"count": 2})
    assert recipe.blocks.sparsity == (0, 0.5)
    assert recipe.blocks.round_to == 4
    assert (recipe.distill.epochs, recipe.distill.learning_rate) == (0, 0.01)
    assert recipe.bundle.labels == ("cat", "dog")
    assert recipe.bundle.std == (1, 1, 1)


def test_all_mistakes_are_reported_at_once_with_the_keys_names(folder):
    path = folder.write(
        "wrong.toml",
        """
        [model]
        factory = "no colon"
        [blocks]
        sparsity = [0, 0.4, 1.5]
        max_ration = 0.2
        [distill]
        epochs = "many"
        [bundle]
        precision = "int3"
        """,
    )
    found = mistakes(path)
    expected = (
        ("model.factory", "package.module:function"),
        ("model.input", "missing"),
        ("blocks.sparsity[2]", "from 0 to 0.99 expected, not 1.5"),
        ("blocks.max_ration", "did you mean 'blocks.max_ratio'?"),
        ("distill.epochs", "a number"),
        ("bundle.precision", "fp32, fp16"),
    )
    assert len(found) == len(expected)
    for key, reason in expected:
        assert any(f"{key}: " in line and reason in line for line in found), (key, found)
    assert all(line.startswith(f"{path}: ") for line in found)


@pytest.mark.parametrize(("shape", "layout"), [
    ("[1, 8, 3, 16, 16]", None), ("[1, 3, 8, 16, 16]", None), ("[1, 3, 3, 16, 16]", "NCTHW"),
    ("[1, 8, 3, 16, 16]", "NTCHW"),
])  # fmt: skip
def test_a_clip_s_normalisation_is_per_channel(folder, shape, layout):
    overrides = [f"model.input={shape}", *([f"bundle.layout={layout}"] if layout else [])]
    recipe = load_recipe(str(folder.recipe), [*overrides, "bundle.mean=[0, 0, 0]", "bundle.std=[1, 1, 1]"])
    assert recipe.bundle.layout == layout
    found = mistakes(folder.recipe, *overrides, "bundle.mean=[0]", "bundle.std=[1]")
    assert all("1 numbers, but model.input has 3 channels" in line for line in found)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("blocks.sparsity=[0]", "blocks.sparsity: only 0"),
        ("blocks.sparsity=0.5", "blocks.sparsity: a list"),
        ("blocks.sparsity=[]", "blocks.sparsity: a list"),
        ("blocks.max_ratio=nan", "blocks.max_ratio: a number"),
        ("blocks.max_ratio=true", "blocks.max_ratio: a number"),
        ("blocks.importance=l7", "blocks.importance: one of"),
        ("teacher.epochs=1.5", "teacher.epochs: a whole number"),
        ("distill.epochs=-1", "distill.epochs: a number"),
        ("bundle.mean=[0.5]", "bundle.mean: 1 numbers, but model.input has 3 channels"),
        ("bundle.mean=[0, 0, 0]", "give both or neither"),
        ("bundle.labels=[1]", "bundle.labels: a list of texts"),
        ("bundle.layout=NHWC", "bundle.layout: one of NCHW, NTCHW, NCTHW expected, not 'NHWC'"),
        ("bundle.layout=NTCHW", "bundle.layout: NTCHW has 5 dimensions, model.input 4"),
        ("model.input=[1, 3, 0, 8]", "model.input[2]: a whole number"),
        ("model.args=3", "model.args: a list"),
        ("model.kwargs=[3]", "model.kwargs: a table"),
        ("model.weights=3", "model.weights: a file's path"),
        ("model.weights=nowhere/w.pt", "nowhere/w.pt: no such file"),
        ("model.weights=.", ": not a file"),
        ("data.train=parts", "data.train: \"package.module:function\" expected"),
        ("blocks=3", "section.key=value"),
        ("blocks", "section.key=value"),
        ("model.input.x=3", "'input' is no section"),
        ('model.factory={ factory = "parts:network" }', 'model.factory: "package.module:function" expected'),
        ("data.train.kwarg={ count = 2 }", "did you mean 'data.train.kwargs'?"),
        ("data.bias=parts:batches", "data.bias: unknown key; known are data.train, data.test, data.validation"),
        ("bloks.sparsity=[0]", "did you mean 'blocks'?"),
    ],
)
def test_values_nobody_can_act_on_are_mistakes(folder, override, reason):
    found = mistakes(folder.recipe, override)
    assert any(reason in line for line in found), found


def test_overrides_are_toml_or_plain_words(folder):
    recipe = load_recipe(
        str(folder.recipe), ["blocks.sparsity=[0, 0.3]", "bundle.precision=fp16", 'model.kwargs={ classes = 4 }']
    )
    assert recipe.blocks.sparsity == (0, 0.3)
    assert recipe.bundle.precision == "fp16"
    assert recipe.model.factory.kwargs == {"classes": 4}


def test_overrides_reach_the_arguments_of_a_loader_and_of_the_manager(folder):
    recipe = load_recipe(
        str(folder.recipe), ["data.train.kwargs.count=2", "manager=parts:manager", "manager.kwargs.task=7"]
    )
    assert recipe.data.train == Call("parts:batches", (), {"count": 2})
    assert recipe.manager == Call("parts:manager", (), {"task": 7})


def test_a_file_given_on_the_command_line_is_relative_to_where_the_user_is(folder, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    (here / "w.pt").touch()
    assert load_recipe(str(folder.recipe), ["model.weights=w.pt"]).model.weights == here / "w.pt"
    builtin = load_recipe("resnet18", ["model.weights=w.pt"])
    assert builtin.model.weights == here / "w.pt"
    assert builtin.folder == here


def test_built_in_recipes_are_whole():
    names = builtin_recipes()
    assert {"image-classification", "resnet18", "vgg16_bn", "mobilenet_v2"} <= set(names)
    for name in names:
        assert load_recipe(name).name == name


def test_a_file_is_preferred_to_a_built_in_of_the_same_name(folder, monkeypatch):
    folder.write("resnet18", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n')
    monkeypatch.chdir(folder.path)
    assert load_recipe("resnet18").model.factory.factory == "parts:network"


def test_a_folder_does_not_hide_a_built_in(tmp_path, monkeypatch):
    (tmp_path / "resnet18").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_recipe("resnet18").model.factory.factory == "torchvision:resnet18"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[model\n", "not valid TOML"),
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"# caf\xe9\n", "line 1: not text in UTF-8"),
        ("[model]\n".encode("utf-16"), "line 1: not text in UTF-8"),
        (MAGIC + bytes(100), "a bundle, not a recipe"),
    ],
)
def test_what_is_no_toml_is_said_in_one_line(tmp_path, content, reason):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    [line] = mistakes(path)
    assert str(path) in line
    assert reason in line


def test_the_mark_that_editors_put_before_utf_8_is_read_over(folder):
    folder.recipe.write_bytes(codecs.BOM_UTF8 + folder.recipe.read_bytes())
    assert load_recipe(str(folder.recipe)).model.factory.factory == "parts:network"




def test_a_recipe_knows_the_names_of_all_importances():
    assert set(IMPORTANCE) == set(importance.IMPORTANCE)
