"""`legodnn-build` as a user meets it: output, exit status, and one line for everything that is wrong."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from legodnn.builder import zoo
from legodnn.builder.__main__ import main
from legodnn.builder.recipe.load import load_recipe
from legodnn.shared.bundle.reader import BundleReader


def refused(capsys, *arguments):
    """The one line on stderr of a run that ended with status 2 and printed nothing else."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("legodnn-build: ")
    return line


def test_version_and_help(capsys):
    for option, text in (("--version", "legodnn-build 0."), ("--help", "legodnn-build resnet18 --plan")):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_the_list_names_every_built_in_recipe(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(maxsplit=1) for line in lines if line.startswith(" ")]
    assert all(len(description) > 20 for _, description in rows)
    first, second = (i for i, line in enumerate(lines) if not line.startswith(" "))
    names = [name for name, _ in rows]
    complete, networks = names[: second - first - 1], names[second - first - 1 :]
    assert sorted(names) == sorted(path.stem for path in Path(zoo.__file__).parent.glob("*/*.toml"))
    assert complete == sorted(complete)
    assert networks == sorted(networks)
    assert "image-classification" in complete
    assert {"mobilenet_v2", "resnet18", "vgg16_bn", "yolov3"} <= set(networks)
    assert all(load_recipe(name).data.train is not None for name in complete)
    assert all(load_recipe(name).data.train is None for name in networks)


def test_a_plan_needs_a_model_alone(folder, capsys):
    path = folder.write("least.toml", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n')
    assert main([str(path), "--plan", "--json", "--set", "blocks.max_ratio=0.5"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["parameters"] == sum(p.numel() for p in folder.network().parameters())
    assert isinstance(plan["blocks"], list)
    for block in plan["blocks"]:
        assert {"name", "layers", "parameters", "removable_share", "modules", "stays"} <= set(block)
        assert 0 < block["removable_share"] < 1
    assert main([str(path), "--plan", "--set", "blocks.max_ratio=0.5"]) == 0
    text = capsys.readouterr().out
    assert all(f"{block['name']}: " in text for block in plan["blocks"])
    assert "of the FLOPs can be removed" in text
    assert "not prunable:" in text
    assert sorted(p.name for p in folder.path.iterdir() if p.suffix) == ["least.toml", "parts.py", "small.toml"]


def test_a_factory_that_prints_does_not_spoil_the_json(folder, capsys):
    folder.write("chatty.py", "import parts\n\ndef make():\n    print('making it')\n    return parts.network()\n")
    assert main([str(folder.recipe), "--plan", "--json", "--set", "model.factory=chatty:make"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["blocks"]
    assert "making it" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no recipe given"),
        ([""], "no recipe given"),
        (["resnet81", "--plan"], "did you mean 'resnet18'?"),
        (["{recipe}", "--plan", "--set", "model.input=[1, 3, 1048576, 1048576]"], "out of memory"),
        (["new", "{folder}/missing/x.toml"], "missing/x.toml: No such file or directory"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["nowhere.toml", "--plan"], "no such recipe file"),
        (["{recipe}"], "where should the bundle go?"),
        (["{recipe}", "--json"], "--json goes with --plan"),
        (["{recipe}", "--plan", "--set", "blocks"], "section.key=value"),
        (["{recipe}", "--plan", "--device", "tpu"], "--device tpu: cpu, cuda or cuda:N expected"),
        (["{recipe}", "-o", "o.lgb", "--seed", "-1"], "--seed"),
        (["{recipe}", "-o", "o.lgb", "--seed", "99999999999"], "--seed"),
        (["{recipe}", "-o", "{folder}"], "is a directory"),
        (["{recipe}", "-o", "{folder}/missing/o.lgb"], "no such directory"),
        (["{recipe}", "-o", "/dev/null"], "is no regular file"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--work", "{recipe}"], "not a directory"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--work", "{folder}/o.lgb"], "o.lgb: is in the work directory"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--work", "{folder}"], "o.lgb: is in the work directory"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--work", "{folder}/o.lgb/w"], "would be a directory and the bundle"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--set", "data.train=parts:nothing"], "'parts' has no 'nothing'"),
        (["{recipe}", "--plan", "--set", "model.factory=parts:a:b"], 'expected, not "parts:a:b"'),
        (["{recipe}", "-o", "{folder}/o.lgb", "--set", "model.factory=parts:batches"], "not a network"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--set", "model.weights={folder}/w.pt"], "w.pt: no such file"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--set", "model.input=[1, 3, 9, 9]"], "the recipe says (n, 3, 9, 9)"),
        (["{recipe}", "--plan", "--set", "model.input=[1, 5, 8, 8]"], "does not run on an input of shape (1, 5, 8, 8)"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(folder, capsys, arguments, text):
    given = [a.format(recipe=folder.recipe, folder=folder.path) for a in arguments]
    assert text in refused(capsys, *given)
    assert not list(folder.path.glob("*.lgb*"))


def test_a_recipe_with_five_mistakes_gives_five_lines(folder, capsys):
    path = folder.write(
        "wrong.toml",
        """
        manger = "a:b"
        [model]
        factory = "parts"
        [blocks]
        sparsity = [1]
        [distill]
        epochs = -1
        """,
    )
    assert main([str(path), "-o", str(folder.path / "o.lgb")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    for key in ("manger", "model.factory", "model.input", "blocks.sparsity[0]", "distill.epochs"):
        assert any(f"{key}: " in line for line in lines)


def test_weights_that_are_not_finite_are_refused_wherever_they_come_from(folder, capsys):
    folder.write(
        "sick.py",
        """
        from parts import network

        def make():
            model = network()
            model[2].weight.data[0] = float("nan")
            return model
        """,
    )
    assert "2.weight" in refused(capsys, folder.recipe, "--plan", "--set", "model.factory=sick:make")


def test_building_twice_gives_the_same_bytes_and_the_second_time_is_short(folder, capsys):
    out = folder.path / "small.lgb"
    assert main([str(folder.recipe), "-o", str(out)]) == 0
    first = out.read_bytes()
    assert "the teacher's top-1 accuracy" in capsys.readouterr().out
    with BundleReader(out) as reader:
        reader.verify()
        assert [v.name for v in reader.manifest.blocks[0].variants] == ["original", "sparsity=0.5"]
    stamps = {p: p.stat().st_mtime_ns for p in (folder.path / "small.lgb.work").rglob("*.pt")}
    assert stamps
    assert main([str(folder.recipe), "-o", str(out)]) == 0
    assert out.read_bytes() == first
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_other_work_directories_and_seeds_can_be_chosen(folder, capsys):
    out, work = folder.path / "small.lgb", folder.path / "elsewhere"
    assert main([str(folder.recipe), "-o", str(out), "--work", str(work), "--seed", "3"]) == 0
    assert (work / "trained").is_dir()
    assert (work / "compressed").is_dir()
    assert not (folder.path / "small.lgb.work").exists()


def test_a_failing_build_leaves_the_old_bundle_alone(folder, capsys):
    out = folder.path / "small.lgb"
    out.write_bytes(b"precious")
    folder.write(
        "late.py",
        """
        import torch
        from parts import batches

        def make():
            good = batches()
            return [*good[:-1], (torch.zeros(1, 1), torch.zeros(1).long())]
        """,
    )
    assert main([str(folder.recipe), "-o", str(out), "--set", "data.test=late:make"]) == 2
    assert "data.test: batch 3" in capsys.readouterr().err.splitlines()[-1]
    assert out.read_bytes() == b"precious"
    assert not list(folder.path.glob(".*.part"))


def test_the_extra_that_is_missing_is_named_with_its_command(tmp_path):
    for name in ("torchvision", "numpy"):
        (tmp_path / "hide.py").write_text(
            textwrap.dedent(f"""
            import importlib.abc, importlib.util, sys
            real = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *rest: None if name == {name!r} else real(name, *rest)
            class Hide(importlib.abc.MetaPathFinder):
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] == {name!r}:
                        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
            sys.meta_path.insert(0, Hide())
            from legodnn.builder.__main__ import main
            sys.exit(main(["--list"]))
            """)
        )
        result = subprocess.run([sys.executable, tmp_path / "hide.py"], capture_output=True, text=True, check=False)
        assert result.returncode == 2
        [line] = result.stderr.splitlines()
        assert line == f"legodnn-build: {name} not installed; the builder needs: pip install 'legodnn[builder]'"


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # to import it fails
from legodnn.builder.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--list"], 0, ""),
        (["new", "{folder}/new.toml"], 0, ""),
        (["{recipe}", "--plan", "--set", "distill.epochs=-1"], 2, "distill.epochs: a number from 0"),
        (["{recipe}", "--plan", "--set", "blocks.importance=l1"], 2, "one of l2, throughput expected, not 'l1'"),
        (["{recipe}", "--plan", "--set", "model.weights=w.pt"], 2, "w.pt: no such file"),
        (["{recipe}", "--plan", "--device", "tpu"], 2, "--device tpu: cpu, cuda or cuda:N expected"),
        (["{recipe}", "-o", "{folder}"], 2, "is a directory"),
        (["{folder}/least.toml", "-o", "{folder}/o.lgb"], 2, "data.train: missing"),
        (["{recipe}", "-o", "{folder}/o.lgb", "--set", "model.inputs=2"], 2, "runs networks of one input, not 2"),
    ],
)
def test_mistakes_are_told_before_torch_is_imported(folder, arguments, status, text):
    folder.write("least.toml", '[model]\nfactory = "parts:network"\ninput = [1, 3, 8, 8]\n')
    given = [a.format(recipe=folder.recipe, folder=folder.path) for a in arguments]
    found = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *given], capture_output=True, text=True, check=False)
    assert (found.returncode, text in found.stderr) == (status, True), found.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["bundle.labels=['a', 'b']"], "bundle.labels: 2 names, but the network has scores for 4 classes"),
        (["bundle.mean=[0.5, 0.5, 0.5]", "bundle.std=[0.2, 0.2, 0.2]", "data.test=raw:batches"], "not normalised by"),
        (["data.train=raw:negative"], "data.train: __len__() should return >= 0"),
    ],
)
def test_what_only_the_data_show_is_told_before_anything_is_distilled(folder, capsys, options, text):
    folder.write("raw.py", """
        import torch

        def batches():
            pixels = torch.randint(0, 256, (32, 3, 8, 8), generator=torch.Generator().manual_seed(0))
            return [(pixels / 255, torch.arange(32) % 4)]

        class Negative(list):
            def __len__(self):
                return -1

        def negative():
            return Negative(batches())
        """)
    out = folder.path / "o.lgb"
    assert main([str(folder.recipe), "-o", str(out), *(word for o in options for word in ("--set", o))]) == 2
    assert text in capsys.readouterr().err.splitlines()[-1]
    assert not list(folder.path.glob("o.lgb.work/trained/*/*.pt"))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(folder):
    folder.write("slow.py", "import sys, time\n\ndef make():\n    print('here', file=sys.stderr)\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "legodnn.builder", folder.recipe, "-o", folder.path / "o.lgb"]
    with subprocess.Popen([*command, "--set", "data.test=slow:make"], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr.readline() == "here\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
        assert process.stderr.read().strip() == "legodnn-build: interrupted"
    assert not (folder.path / "o.lgb").exists()
    assert main([str(c) for c in command[3:]]) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_device_that_is_not_there(folder, capsys):
    assert "--device cuda: not available here" in refused(capsys, folder.recipe, "--plan", "--device", "cuda")


def test_a_bundle_never_replaces_its_recipe(folder, capsys):
    before = folder.recipe.read_bytes()
    assert main([str(folder.recipe), "-o", str(folder.recipe)]) == 2
    assert "is the recipe, and would be replaced" in capsys.readouterr().err
    assert folder.recipe.read_bytes() == before
