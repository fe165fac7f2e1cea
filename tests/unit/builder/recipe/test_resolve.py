"""From names in a recipe to networks, managers and loaders; everything a user's code can do wrong."""

import io
import sys

import pytest
import torch

from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.recipe.resolve import build_loaders, build_manager, build_model
from legodnn.shared.errors import DataError, ModelError, RecipeError


def recipe_of(folder, *overrides):
    return load_recipe(str(folder.recipe), overrides)


def reason(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


def save(path, content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue())


def test_the_factory_beside_the_recipe_gets_its_arguments(folder):
    model = build_model(recipe_of(folder, "model.kwargs={ width = 32 }"))
    assert model[2].out_channels == 32
    assert not model.training
    assert sys.path[0] == str(folder.path)


def test_torchvision_is_short_for_its_models():
    model = build_model(load_recipe("mobilenet_v2", ["model.kwargs={ num_classes = 5 }"]))
    assert model.classifier[1].out_features == 5


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large", "raft_small", "r3d_18"])
def test_torchvision_is_short_for_networks_of_every_application_without_downloads(name, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    overrides = [f"model.factory=torchvision:{name}"]
    assert sum(p.numel() for p in build_model(load_recipe("resnet18", overrides)).parameters()) > 900_000


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def make():\n    raise KeyError('weights')", "'bad:make' failed: KeyError: 'weights'"),
        ("def make():\n    raise SystemExit(3)", "'bad:make' failed: SystemExit: 3"),
        ("def make():\n    raise ValueError('one\\ntwo')", "ValueError: one"),
        ("def make():\n    return 7", "returned int, not a network"),
    ],
)
def test_a_factory_that_makes_no_network(folder, code, text):
    folder.write("bad.py", code)
    with pytest.raises(ModelError) as caught:
        build_model(recipe_of(folder, "model.factory=bad:make"))
    assert text in reason(caught)


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        ("nowhere_at_all:make", "cannot import 'nowhere_at_all': ModuleNotFoundError"),
        ("broken:make", "cannot import 'broken': SyntaxError"),
        ("parts:netwrok", "'parts' has no 'netwrok'; did you mean 'network'?"),
        ("parts:PI", "cannot be called"),
        ("torchvision:resnet19", "torchvision has no network 'resnet19'; did you mean 'resnet1"),
    ],
)
def test_names_that_lead_nowhere(folder, factory, text):
    folder.write("broken.py", "def make(:\n")
    with (folder.path / "parts.py").open("a") as file:
        file.write("PI = 3\n")
    with pytest.raises(RecipeError) as caught:
        build_model(recipe_of(folder, f"model.factory={factory}"))
    assert "model.factory: " in reason(caught)
    assert text in reason(caught)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "state_dict": s}])
def test_weights_are_loaded_plain_or_wrapped(folder, wrap):
    state = build_model(recipe_of(folder)).state_dict()
    state["2.weight"] = torch.full_like(state["2.weight"], 0.5)
    save(folder.path / "w.pt", wrap(state))
    model = build_model(recipe_of(folder, f"model.weights={folder.path / 'w.pt'}"))
    assert torch.equal(model[2].weight, state["2.weight"])


def test_weights_from_before_batch_counters_load(folder):
    state = build_model(recipe_of(folder)).state_dict()
    save(folder.path / "w.pt", {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")})
    build_model(recipe_of(folder, f"model.weights={folder.path / 'w.pt'}"))


def misfit(state):
    state["extra"] = torch.zeros(1)
    del state["0.bias"]
    state["2.weight"] = torch.zeros(2, 2)


def not_finite(state):
    state["2.weight"][0, 0] = float("nan")
    state["5.bias"][0] = float("inf")


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (misfit, ["missing: 0.bias", "unexpected: extra", "2.weight is (2, 2) instead of (16, 8, 3, 3)"]),
        (not_finite, ["not finite in 2.weight, 5.bias"]),
    ],
)
def test_weights_that_do_not_fit_say_which_keys(folder, change, texts):
    state = build_model(recipe_of(folder)).state_dict()
    change(state)
    save(folder.path / "w.pt", state)
    with pytest.raises(ModelError) as caught:
        build_model(recipe_of(folder, f"model.weights={folder.path / 'w.pt'}"))
    assert all(text in reason(caught) for text in texts)
    assert "w.pt" in reason(caught)


def make_truncated(path):
    save(path, {"0.bias": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:1500])


def make_unsafe(path):
    save(path, {"0.bias": pytest.raises})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b""), "cut off"),
        (lambda path: path.write_bytes(b"PK\x03\x04 nonsense"), "cut off"),
        (make_truncated, "cut off"),
        (make_unsafe, "no state dict; write one with torch.save(model.state_dict(), FILE)"),
        (lambda path: path.write_bytes(b"[model]\n"), "no state dict"),
        (lambda path: save(path, [1, 2]), "not a state dict"),
        (lambda path: save(path, {"a": 3}), "not a state dict"),
        (lambda path: save(path, {1: torch.zeros(1)}), "not a state dict"),
    ],
)
def test_files_that_hold_no_weights(folder, make, text):
    path = folder.path / "w.pt"
    make(path)
    with pytest.raises(ModelError) as caught:
        build_model(recipe_of(folder, f"model.weights={path}"))
    assert text in reason(caught)
    assert str(path) in reason(caught)


def test_the_manager_must_be_one(folder):
    assert build_manager(recipe_of(folder)).task == "image classification"
    folder.recipe.write_text('manager = "parts:batches"\n' + folder.recipe.read_text())
    with pytest.raises(RecipeError, match="made no AbstractModelManager"):
        build_manager(recipe_of(folder))


def loaders_of(recipe):
    loaders = build_loaders(recipe, build_manager(recipe).task)
    return loaders.train, loaders.test


def test_loaders_are_made_and_looked_at(folder):
    train, test = loaders_of(recipe_of(folder, 'data.train={ factory = "parts:batches", kwargs = { count = 2 } }'))
    assert (len(train), len(test)) == (2, 4)
    assert next(iter(test))[0].shape == (8, 3, 8, 8)


def test_both_missing_loaders_are_named_at_once(folder):
    path = folder.write("least.toml", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n')
    with pytest.raises(RecipeError) as caught:
        loaders_of(load_recipe(str(path)))
    assert [line.partition(":")[0] for line in caught.value.mistakes] == ["data.train", "data.test"]


def test_a_network_of_several_inputs_needs_a_manager_of_its_own(folder):
    with pytest.raises(RecipeError, match="runs networks of one input, not 2"):
        loaders_of(recipe_of(folder, "model.inputs=2"))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise OSError('no disk')", "data.test: 'loaders:make' failed: OSError: no disk"),
        ("return 5", "returned int, which yields no batches"),
        ("return iter([])", "returned an iterator, which can be read only once"),
        ("return []", "data.test: the loader yields no batches"),
        ("return [torch.zeros(2, 3, 8, 8)]", "a pair (inputs, labels) expected, not Tensor"),
        ("return [(torch.zeros(2, 3, 9, 8), torch.zeros(2).long())]", "(2, 3, 9, 8), the recipe says (n, 3, 8, 8)"),
    ],
)
def test_loaders_the_network_cannot_use_are_found_before_any_training(folder, code, text):
    folder.write("loaders.py", f"import torch\ndef make():\n    {code}\n")
    with pytest.raises(DataError) as caught:
        loaders_of(recipe_of(folder, "data.test=loaders:make"))
    assert text in reason(caught)
