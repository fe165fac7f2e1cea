"""A build packs what it measured, or stops."""

import pytest

from legodnn.builder.pipeline import build
from legodnn.builder.recipe.load import load_recipe
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
