"""A build packs what it measured, or stops."""

import re

import pytest

from legodnn.builder.pipeline import build
from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.workdir import progress
from legodnn.runtime import Network
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import DataError

DATA = """
from pathlib import Path

import parts


def batches():
    '''Images with the classes that the network gives them, unless a file beside this one swaps them.'''
    swapped = int(Path(__file__).with_name("swapped").exists())
    return [(x, (parts.network().eval()(x).argmax(1) + swapped) % 4) for x, _ in parts.batches()]
"""


MAPS = """
import torch
from legodnn.builder import AbstractModelManager

import parts


def network():
    return parts.network(width=64)[:-3]        # maps (n, 8, 8, 8)


def batches():
    return [((x * 40 + 128).round().clamp(0, 255) / 255,) for x, _ in parts.batches()]


class Manager(AbstractModelManager):
    task, metric = "maps", "likeness"

    def forward_to_gen_mid_data(self, model, batch_data, device):
        return model(batch_data[0].to(device))

    def get_model_acc(self, model, test_loader, device):
        wanted = network().eval()
        return 1 / (1 + sum(float((model(x) - wanted(x)).square().mean()) for x, in test_loader))
"""


def built(folder, out, *settings):
    recipe = load_recipe(str(folder.recipe), ["data.test=mine:batches", *settings])
    return build(recipe, folder.path / out, folder.path / "work", timing=False)


def test_a_build_whose_test_labels_changed_unseen_stops_at_packing(folder):
    folder.write("mine.py", DATA)
    assert built(folder, "a.lgb").profile.teacher_accuracy == 1.0
    folder.write("swapped", "")
    with pytest.raises(DataError, match=r"first 32 images is 0\.00%, but 100\.00% in the profile"):
        built(folder, "b.lgb")
    assert not (folder.path / "b.lgb").exists()


def test_a_recipe_may_ask_for_no_samples_and_the_report_says_so(folder):
    folder.write("mine.py", DATA)
    result = built(folder, "a.lgb", "bundle.samples=0")
    with BundleReader(result.path) as reader:
        assert reader.manifest.self_test.count == 0
    assert "no samples (bundle.samples = 0)" in result.report.read_text(encoding="utf-8")


def test_of_large_outputs_so_much_is_packed_that_it_stays_within_a_tenth(folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.path))
    folder.write("maps.py", MAPS)
    data = ["data.test=maps:batches", "data.train=maps:batches"]
    result = built(folder, "a.lgb", "model.factory=maps:network", "manager=maps:Manager", *data)
    with Network.open(result.path) as network:
        test, manifest = network.manifest.self_test, network.manifest
        stored = sum(length for _, length, _ in test.blobs())
        assert test.pixels is not None
        assert test.count > 1
        assert test.steps[0] > 1
        assert stored <= 0.1 * manifest.teacher_weight_bytes
        assert all(found.passed for found in network.self_test())


def test_the_self_test_covers_the_teacher_the_smallest_measured_selection_and_the_median(folder):
    folder.write("mine.py", DATA)
    result = built(folder, "a.lgb", "profile.compositions=6", "blocks.sparsity=[0, 0.25, 0.5, 0.75]")
    measured = sorted(result.profile.compositions, key=lambda row: -row["distortion"])
    assert len(measured) > 3
    with Network.open(result.path) as network:
        cases = [case.selection for case in network.manifest.self_test.cases]
        blocks = [block.name for block in network.blocks]
        assert all(found.passed for found in network.self_test())
    median = measured[len(measured) // 2]["selection"]
    assert cases == [dict.fromkeys(blocks, "original"), measured[0]["selection"], median]
    assert len({tuple(case.values()) for case in cases}) == 3


@pytest.mark.parametrize("width", [2, 32, 128])
def test_tensors_are_as_many_samples_as_fit_into_a_tenth_and_one_that_does_not_is_said(folder, width):
    result = built(folder, "a.lgb", "data.test=parts:batches", f"model.kwargs.width={width}")
    with BundleReader(result.path) as reader:
        manifest = reader.manifest
    test, limit = manifest.self_test, 0.1 * manifest.teacher_weight_bytes
    each, outputs = 4 * 3 * 8 * 8, 4 * 4 * len(test.cases)
    assert test.pixels is None
    assert test.count == max(1, min(8, int(limit // (each + outputs))))
    said = [note for note in manifest.notes if "a single sample weighs" in note]
    assert said == ([] if width > 2 else [f"a single sample weighs {0.1 * each / limit:.0%} of the teacher's weights"])


def test_what_has_no_variants_loses_nothing(folder):
    folder.write("mine.py", DATA)
    with BundleReader(built(folder, "a.lgb", "blocks.dense=['0', '2', '5']").path) as reader:
        trunk = [segment for segment in reader.manifest.segments if segment.kind == "trunk"]
    assert trunk
    assert all(variant.accuracy_loss == variant.cost == 0 for segment in trunk for variant in segment.variants)


BAD_BEGINNING = """
import parts


def batches():
    '''960 images, of whose labels the first 48 are wrong.'''
    found = [(x, parts.network(width=128).eval()(x).argmax(1)) for x, _ in parts.batches(count=120)]
    return [(x, (y + (number < 6)) % 4) for number, (x, y) in enumerate(found)]
"""


def test_where_no_samples_in_a_row_are_as_good_as_the_teacher_they_have_no_labels_and_that_is_said(folder):
    folder.write("mine.py", BAD_BEGINNING)
    result = built(folder, "a.lgb", "model.kwargs.width=128")
    assert result.profile.teacher_accuracy == 0.95
    with BundleReader(result.path) as reader:
        test, notes = reader.manifest.self_test, reader.manifest.notes
    assert test.labels == ()
    assert test.count > 1
    assert "the samples have no labels: the teacher is worse on the first test images than on all" in notes
    with Network.open(result.path) as network:
        assert network.self_test()[0].passed


def test_values_have_short_names_in_the_order_they_are_made_in(folder):
    folder.write("mine.py", DATA)
    with BundleReader(built(folder, "a.lgb").path) as reader:
        manifest = reader.manifest
    made = [name for segment in manifest.segments for name in segment.outputs]
    assert manifest.network_inputs == ("x0",)
    assert made == [f"v{number}" for number in range(len(made))]
    assert manifest.network_outputs == (made[-1],)


def test_progress_counts_the_variants_of_all_segments(folder, monkeypatch, capsys):
    folder.write("mine.py", DATA)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with BundleReader(built(folder, "a.lgb").path) as reader:
        variants = sum(len(segment.variants) for segment in reader.manifest.segments)
    said = re.findall(r"^pack: (\d+)/(\d+) variant", capsys.readouterr().err, re.MULTILINE)
    assert said == [(str(done), str(variants)) for done in range(1, variants + 1)]
