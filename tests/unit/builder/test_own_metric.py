"""A manager's own metric has its own name wherever the figure is shown, from the plan to the device."""

import json
import re

import pytest

from legodnn.builder.__main__ import main as build
from legodnn.builder.report.words import MINUS
from legodnn.runtime.command.main import main as run
from legodnn.shared.bundle.reader import BundleReader
from tests.pages import read_page
from tests.unit.builder.conftest import Folder, modules_forgotten
from tests.unit.runtime.commands import memory_by_tables

Image = pytest.importorskip("PIL.Image")

OWN = """
import torch

from legodnn.builder import CommonModelManager


class Own(CommonModelManager):
    metric = "mean colour"

    def get_model_acc(self, model, test_loader, device):
        # any change of the scores changes it
        with torch.no_grad():
            return float(torch.cat([100 * model(x.to(device)) for x, _ in test_loader]).frac().abs().mean())
"""

SETTINGS = ["--set", "manager=own:Own", "--set", "bundle.labels=['a','b','c','d']"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with a recipe whose manager has its own metric, and photos of each class."""
    folder = Folder(tmp_path_factory.mktemp("own"))
    folder.write("own.py", OWN)
    for name in "abcd":
        (folder.path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (60 * ord(name) % 256, 90, 30)).save(folder.path / "photos" / name / "x.png")
    with modules_forgotten(folder.path):
        yield folder


@pytest.fixture(scope="module")
def built(own):
    """The path of the bundle, and what the build printed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(own.path / "cache"))
        bundle = own.path / "o.lgb"
        assert build([str(own.recipe), *SETTINGS, "-o", str(bundle), "--no-timing"]) == 0
        yield memory_by_tables(str(bundle))


def printed(capsys, *arguments):
    assert run([*map(str, arguments)]) == 0
    return re.sub(" +", " ", capsys.readouterr().out)


def objects(capsys, *arguments):
    return {row["event"]: row for row in map(json.loads, printed(capsys, *arguments, "--json").splitlines())}


def test_the_plan_says_what_selections_are_judged_by(own, capsys):
    assert build([str(own.recipe), *SETTINGS, "--plan"]) == 0
    assert "selections are judged by mean colour" in capsys.readouterr().out
    assert build([str(own.recipe), *SETTINGS, "--plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == "mean colour"


def test_the_build_s_last_lines_the_report_and_the_bundle_have_the_name(own, built, capsys):
    assert build([str(own.recipe), *SETTINGS, "-o", built, "--no-timing"]) == 0
    with BundleReader(built) as reader:
        assert reader.manifest.metric == "mean colour"
        teacher = f"{100 * reader.manifest.predictor.teacher_accuracy:.2f} %"
    last = capsys.readouterr().out
    assert f"the teacher's mean colour {teacher}, on these 32 inputs predicted to within " in last
    assert "top-1" not in last
    document = read_page((own.path / "o.report.html").read_text())
    tiles = {tile.all("dt")[0].text: tile.all("dd")[0].text for tile in document.all("dl")[0].all("div")}
    assert tiles["teacher's mean colour"] == teacher
    assert document.all(id="budgets")[0].all("th")[1].text == "mean colour"
    [chart] = document.all("figure")[0].all("svg", role="img")
    assert chart.attributes["aria-label"].startswith("mean colour against")


def test_the_device_says_the_name(built, capsys):
    info = printed(capsys, built, "--info")
    frames = printed(capsys, built, "--frames", "1", "--plain")
    assert "of weights, mean colour " in info
    assert "memory time mean colour sparsities" in frames
    assert re.search(r"predicted: .* per inference, .*, mean colour \d", frames)
    assert "top-1" not in info + frames
    assert objects(capsys, built, "--info")["info"]["metric"] == "mean colour"
    found = objects(capsys, built, "--frames", "1")
    assert found["choice"]["metric"] == "mean colour"
    assert {choice["metric"] for choice in found["offers"]["offers"]} == {"mean colour"}


def test_the_report_and_the_device_give_a_variant_s_change_the_same_sign(own, built, capsys):
    document = read_page((own.path / "o.report.html").read_text())
    cells = [row[1] for row in document.all(id="variants")[0].all("table")[0].rows()]
    changes = re.findall(r"sparsity=0\.5 \S+ \S+ \S+ (\S+) points", printed(capsys, built, "--info"))
    with BundleReader(built) as reader:
        losses = [block.variant("sparsity=0.5").accuracy_loss for block in reader.manifest.blocks]
    assert any(losses)
    assert changes == [f"{-100 * loss:+.2f}" if loss else "0.00" for loss in losses]
    assert all(cell.startswith(change.replace("-", MINUS)) for cell, change in zip(cells, changes, strict=True))


def test_an_evaluation_keeps_it_apart_from_the_application_s_figures(own, built, capsys):
    text = printed(capsys, built, "--evaluate", own.path / "photos")
    assert "\npredicted, mean colour: " in text
    [top] = [line for line in text.splitlines() if line.startswith("top-1 accuracy")]
    assert "predicted" not in top
    found = objects(capsys, built, "--evaluate", own.path / "photos")["evaluation"]
    assert list(found["predicted"]) == list(found["teacher"]) == ["mean colour"]
    assert "mean colour" not in found["figures"]
