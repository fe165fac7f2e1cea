"""Samples that contradict each other or the network are refused when a bundle is opened."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legodnn.shared.bundle.manifest import InputSpec, SelfTest
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.errors import BundleError
from tests import bundles
from tests.unit.shared.bundle.test_bundle import PLAIN, rewritten


def _both_forms(plain):
    plain["self_test"]["inputs"] = [plain["self_test"]["pixels"]]


def _float_pixels(plain):
    plain["self_test"]["input_spec"]["dtype"] = "float32"


def _other_pixels(plain):
    plain["self_test"]["input_spec"]["shape"][1:3] = [8, 32]


def _shapeless_pixels(plain):
    plain["self_test"]["input_spec"]["shape"] = []


def _many_pixels(plain):
    test = plain["self_test"]
    test["input_spec"]["shape"][0] = 4097
    plain["blobs"][test["pixels"]].update(raw_length=4097 * 16 * 16 * 3, codec="zstd")


def _pixels_of_nothing(plain):
    plain["input"]["layout"] = ""


def _pixels_of_two(plain):
    plain["network_inputs"].append("other")


def _pixel_blob_beyond(plain):
    plain["self_test"]["pixels"] = 10_000


def _pixel_blob_below(plain):
    plain["self_test"]["pixels"] = -1


def _pixel_blob_of_another_kind(plain):
    plain["self_test"]["pixels"] = "first"


def _fewer_labels(plain):
    plain["self_test"]["labels"].pop()


def _no_step(plain):
    plain["self_test"]["steps"] = [0]


def _steps_of_none(plain):
    plain["self_test"]["steps"] = [2, 2]


def _long_step(plain):
    plain["self_test"]["steps"] = [1 << 60]


def _expected_of_nothing(plain):
    plain["self_test"].update(pixels=None, labels=[])


@pytest.mark.parametrize(("change", "reason"), [
    (_both_forms, "both as tensors and as pixels"), (_float_pixels, "pixels are uint8"),
    (_other_pixels, r"pixels are uint8 \(n, 16, 16, 3\)"), (_shapeless_pixels, "pixels are uint8"),
    (_many_pixels, "4097 samples, more than 4096"), (_pixels_of_nothing, "takes no pictures"),
    (_pixels_of_two, "several inputs"), (_pixel_blob_beyond, "do not exist"), (_pixel_blob_below, "do not exist"),
    (_pixel_blob_of_another_kind, "self_test.pixels: a whole number"), (_fewer_labels, "another number of samples"),
    (_no_step, "each is at least 1"), (_steps_of_none, "another number of outputs"), (_long_step, "its tables say"),
    (_expected_of_nothing, "expected outputs without samples"),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_samples_that_contradict_the_network_are_refused(tmp_path, change, reason):
    bundles.write(tmp_path / "pixels.lgb", pixels=True)
    with pytest.raises(BundleError, match=reason) as refusal:
        BundleReader(rewritten(tmp_path / "pixels.lgb", tmp_path / "bad.lgb", change))
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def self_test():
    return bundles.BundleMaker(pixels=True).manifest().to_plain()["self_test"]


@given(
    field=st.sampled_from(["inputs", "labels", "output_specs", "cases", "pixels", "steps"]),
    value=PLAIN | st.lists(st.integers(-1, 9)) | st.integers(-1, 9),
    shape=st.lists(st.integers(-1, 20), max_size=5),
    dtype=st.sampled_from(["uint8", "float32", "complex64"]),
)
def test_a_self_test_of_anything_at_all_is_checked_or_refused(self_test, field, value, shape, dtype):
    plain = {**self_test, field: value, "input_spec": {"name": "x", "shape": shape, "dtype": dtype}}
    with contextlib.suppress(BundleError):
        found = SelfTest.from_plain(plain)
        found.check(1, InputSpec(bundles.INPUT, "float32", "NCHW", None, None, ()))
        assert all(length >= 0 for _, length, _ in found.blobs())


def test_of_thinned_outputs_only_every_so_many_elements_are_stored(tmp_path):
    maker = bundles.BundleMaker(pixels=True)
    manifest = maker.manifest()
    thinned = dataclasses.replace(manifest.self_test, steps=(7,))
    assert [length for _, length, what in thinned.blobs() if what == "expected outputs"] == [5 * 4] * 3  # of 30
    with pytest.raises(BundleError, match="its tables say 20"):
        write_bundle(tmp_path / "x.lgb", dataclasses.replace(manifest, self_test=thinned), maker.blobs)
