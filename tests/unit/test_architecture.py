"""The arrows between the packages, from the sources and from a fresh interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from legodnn.builder.recipe.load import tomllib

ROOT = Path(__file__).parents[2]
SLIM = {"torch", "pulp", "legodnn"}
THIRD_PARTY = {
    "msgpack": ["shared/bundle/encoding.py"],
    "zstandard": ["shared/bundle/blobs.py"],
    "psutil": ["shared/host.py"],
    "PIL": ["shared/vision/drawing.py", "shared/vision/images.py"],
    "av": ["shared/vision/video.py"],
    "jinja2": ["builder/report/page.py"],
}


def sources(*packages):
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("shared", ("builder", "runtime")), ("runtime", ("builder",)), ("builder", ("runtime",))],
)
def test_the_halves_never_meet(package, forbidden):
    wrong = [
        (path.name, name)
        for path in sources(package)
        for name in imports(path)
        if name.startswith(tuple(f"legodnn.{other}" for other in forbidden))
    ]
    assert wrong == []


def is_module(name):
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("package", ["shared", "runtime", "builder"])
def test_what_a_room_offers_is_for_others(package):
    """Inside it, modules import each other; the room itself would be a circle that `lint-imports` does not see."""
    wrong = []
    for path in sources(package):
        name = ".".join(["legodnn", *path.relative_to(ROOT).with_suffix("").parts])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and name.startswith(f"{node.module}."):
                wrong += [(name, a.name) for a in node.names if not is_module(f"{node.module}.{a.name}")]
    assert wrong == []


def test_the_runtime_imports_torch_pulp_and_the_standard_library_only():
    roots = {name.split(".")[0] for path in sources("runtime") for name in imports(path)}
    assert roots - SLIM <= set(sys.stdlib_module_names)


def test_every_room_is_part_of_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    rooms = {path.parent.relative_to(ROOT) for path in sources("shared", "runtime", "builder")}
    assert sorted(listed) == sorted(f"legodnn.{'.'.join(room.parts)}" for room in rooms)


def test_each_third_party_library_of_the_contract_has_one_home():
    homes = {name: [] for name in THIRD_PARTY}
    for path in sources("shared", "runtime", "builder"):
        for root in {name.split(".")[0] for name in imports(path)} & set(homes):
            homes[root].append(str(path.relative_to(ROOT)))
    assert homes == THIRD_PARTY


@pytest.mark.parametrize("path", sources("shared", "runtime"), ids=lambda p: str(p.relative_to(ROOT)))
def test_what_runs_on_devices_is_written_for_python_3_8(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_nothing_is_unpickled():
    words = ("import pickle", "from pickle", "weights_only=False")
    found = [str(p) for p in sources("shared", "runtime", "builder") if any(w in p.read_text() for w in words)]
    assert found == []
    assert not any("torch.load(" in p.read_text() for p in sources("shared", "runtime"))


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Blocked())
{body}
"""


def interpret(body, blocked=("torchvision", "numpy", "tqdm")):
    code = BLOCKED.format(blocked=tuple(blocked), body=body)
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)


def test_the_runtime_needs_neither_torchvision_nor_numpy():
    body = "import legodnn.runtime, legodnn.runtime.command.main; print([m for m in sys.modules if 'builder' in m])"
    result = interpret(body)
    assert result.returncode == 0, result.stderr
    assert "legodnn.builder" not in result.stdout


def test_importing_the_runtime_loads_neither_its_command_nor_what_is_about_several_networks():
    result = interpret("import legodnn.runtime; print(*(m for m in sys.modules if m.startswith('legodnn.runtime.')))")
    loaded = {name.split(".")[2] for name in result.stdout.split()}
    assert loaded == {"device", "engine", "network", "optimizer", "profiling", "switching"}


def test_a_whole_run_needs_neither_torchvision_nor_numpy(tmp_path):
    from tests import bundles

    bundles.write(tmp_path / "small.lgb")
    body = f"""
import os
os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
from legodnn.runtime.command.main import main
sys.exit(main([{str(tmp_path / "small.lgb")!r}, "--memory", "1GiB"]))
"""
    result = interpret(body)
    assert result.returncode == 0, result.stderr
    assert "of 6 samples right" in result.stdout


def loaded_by(tmp_path, *arguments):
    """The modules of ours that a run of `legodnn-run` with these arguments has imported, however it ended."""
    body = f"""
import os
os.environ["XDG_CACHE_HOME"] = {str(tmp_path)!r}
from legodnn.runtime.command.main import main
try:
    main({[str(argument) for argument in arguments]!r})
finally:
    print("loaded", *(name for name in sys.modules if name.startswith("legodnn.")))
"""
    [loaded] = [line for line in interpret(body).stdout.splitlines() if line.startswith("loaded legodnn.")]
    return set(loaded.split()[1:])


def test_data_sets_and_drawing_are_imported_where_they_are_asked_for(tmp_path, monkeypatch):
    from tests import bundles
    from tests.unit.runtime.commands import memory_by_tables

    small = tmp_path / "small.lgb"
    bundles.write(small)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    memory_by_tables(small)
    evaluating = {"legodnn.runtime.command.evaluate", "legodnn.shared.datasets.opening"}
    drawing = {"legodnn.runtime.command.render", "legodnn.shared.vision.drawing"}
    assert not loaded_by(tmp_path, "--help") & (evaluating | drawing)
    assert not loaded_by(tmp_path, small) & (evaluating | drawing)
    # Neither gets far: there is no such data set, and a file is where the folder should be.
    assert evaluating <= loaded_by(tmp_path, small, "--evaluate", tmp_path / "nothing")
    assert drawing <= loaded_by(tmp_path, small, "--render", small)


def test_pillow_is_not_loaded_until_there_are_images_to_read_or_draw():
    body = "import legodnn.runtime.command.main, legodnn.shared.vision.drawing"
    result = interpret(body, blocked=("torchvision", "numpy", "PIL"))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", ["errors", "units", "bundle.manifest", "console", "vision.images", "bundle.reader"])
def test_questions_about_a_bundle_are_answered_without_torch(module):
    result = interpret(f"import legodnn.shared.{module}", blocked=("torch", "numpy"))
    assert result.returncode == 0, result.stderr
