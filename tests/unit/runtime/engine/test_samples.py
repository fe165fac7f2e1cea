"""Samples are read as frames are: what a device would do wrong with pictures fails the self-test."""

from dataclasses import replace

import pytest
import torch

from legodnn.runtime import LatencyEstimator, Network
from legodnn.runtime.frames.opening import open_source
from legodnn.runtime.frames.pixels import PixelFormat
from legodnn.runtime.frames.samples import Samples
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.errors import InputError
from tests import bundles


def pictures(folder, **changes):
    """A bundle whose samples are pixels, with a changed manifest."""
    maker = bundles.BundleMaker(pixels=True)
    manifest = maker.manifest()
    test = {key: changes.pop(key) for key in ("labels", "steps") if key in changes}
    path = folder / "pictures.lgb"
    changed = replace(manifest, self_test=replace(manifest.self_test, **test), input=replace(manifest.input, **changes))
    write_bundle(path, changed, maker.blobs)
    return path


def test_pixels_are_read_as_frames_of_pixels_are(tmp_path):
    with Network.open(pictures(tmp_path)) as network:
        [inputs], labels = network.samples()
        assert all(r.passed and r.error < 1e-5 and r.right is not None for r in network.self_test())
        assert network.self_test()[0].right == network.self_test()[0].judged == len(labels) == 6
        data = network.reader.blob(network.manifest.self_test.pixels)
        (tmp_path / "frames.raw").write_bytes(bytes(data))
        stream = open_source(str(tmp_path / "frames.raw"), network, PixelFormat("rgb24", 16, 16))
        frames = [frame.load()[0] for frame in stream.frames()]
        stream.close()
        assert torch.equal(torch.cat(frames), inputs)
        assert [x.shape for x in network.sample_inputs()] == [(1, 3, 16, 16)]


@pytest.mark.parametrize("changes", [
    {"mean": None, "std": None}, {"mean": (0.5, 0.5, 0.5)}, {"mean": (0.6, 0.5, 0.4)},
    {"mean": (0.6, 0.5, 0.4), "std": (-0.2, -0.25, -0.3)},
], ids=["unnormalised", "another mean", "colours swapped", "inverted"])  # fmt: skip
def test_a_wrong_normalisation_fails_the_self_test(tmp_path, changes):
    with Network.open(pictures(tmp_path, **changes)) as network:
        assert not any(r.passed for r in network.self_test())


def test_labels_that_do_not_belong_to_the_answers_fail_the_self_test_of_the_originals(tmp_path):
    with Network.open(pictures(tmp_path)) as network:
        labels = network.manifest.self_test.labels
    with Network.open(pictures(tmp_path, labels=tuple((y + 1) % 5 for y in labels))) as network:
        results = network.self_test()
        assert results[0].right == 0
        assert [r.passed for r in results] == [False, True, True]
        assert all(r.error < 1e-5 for r in results)


# ---- no samples -----------------------------------------------------------------------------------------------------
def test_of_thinned_outputs_the_stored_elements_are_compared(tmp_path):
    maker, other = bundles.BundleMaker(pixels=True, step=7), bundles.BundleMaker(seed=1)
    write_bundle(tmp_path / "x.lgb", maker.manifest(), maker.blobs)
    with Network.open(tmp_path / "x.lgb") as network:
        assert network.manifest.self_test.steps == (7,)
        assert all(r.passed and r.error < 1e-5 for r in network.self_test())
    wrong = bundles.BundleMaker(pixels=True, step=7)
    wrong.answer = other.answer
    write_bundle(tmp_path / "y.lgb", wrong.manifest(), wrong.blobs)
    with Network.open(tmp_path / "y.lgb") as network:
        assert not any(r.passed for r in network.self_test())


def test_a_bundle_without_samples_runs_on_inputs_of_ones_own(tmp_path):
    bundles.write_bare(tmp_path / "bare.lgb")
    with Network.open(tmp_path / "bare.lgb", batch=3) as network:
        assert network.self_test() == []
        [x], [again] = network.sample_inputs(), network.sample_inputs()
        assert x.shape == (3, 3, 16, 16)
        assert torch.equal(x, again)
        assert float(x.std()) > 0.5
        assert network(x).shape == (3, 5)
        with pytest.raises(InputError, match=r"bare\.lgb: the bundle carries no samples \(bundle.samples = 0\)"):
            network.samples()
        with pytest.raises(InputError, match="name frames with --input"):
            Samples(network)
        assert LatencyEstimator(network).profile_all_blocks() is not None
