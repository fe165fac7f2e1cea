"""Samples become pixels where they are pictures, and as many as a tenth of the weights allows."""

import math

import pytest
import torch

from legodnn.builder.bundle.samples import LEAST, Candidates, affordable, pictured, steps
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import DataError
from legodnn.shared.vision.pixels import read_pixels

MEAN, STD = 0.45, 0.25
BYTES = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
WEIGHTS = torch.randn(3 * 16 * 16, 5, generator=torch.Generator().manual_seed(1))


def spec(mean=MEAN, std=STD, shape=(1, 3, 16, 16), layout="NCHW"):
    given = None if mean is None else ((mean,) * 3, (std,) * 3)
    return InputSpec(shape, "float32", layout, given and given[0], given and given[1], ())


def answers(inputs):
    return [inputs[0].flatten(1) @ WEIGHTS]


def found(loaded, given):
    return pictured(Candidates([loaded], torch.arange(len(loaded))), given, answers)


def normalised(values, mean=MEAN, std=STD):
    return (values - mean) / std


# ---- pixels ---------------------------------------------------------------------------------------------------------
def test_normalised_pictures_become_the_bytes_they_were_made_of():
    candidates = found(normalised(BYTES / 255), spec())
    assert torch.equal(candidates.pixels.permute(0, 3, 1, 2).float(), BYTES)
    assert torch.equal(candidates.labels, torch.arange(8))
    assert [x.dtype for x in candidates.stored] == [torch.uint8]


def test_inputs_are_what_a_device_reads_of_rounded_pictures():
    loaded = torch.rand(4, 3, 16, 16)
    candidates = found(normalised(loaded), spec())
    assert torch.equal(candidates.inputs[0], read_pixels(candidates.pixels, spec()))
    assert not torch.equal(candidates.inputs[0], normalised(loaded))
    assert torch.allclose(candidates.inputs[0], normalised(loaded), atol=0.51 / 255 / STD)


def test_without_mean_and_std_pictures_from_0_to_1_are_pixels():
    assert found(BYTES / 255, spec(None)).pixels is not None


@pytest.mark.parametrize(("loaded", "given", "reason"), [
    ([normalised(BYTES / 255)], spec(None), "neither bundle.mean nor bundle.std"),
    ([BYTES], spec(None), "values beyond 0 and 1"),
    ([torch.rand(2, 4, 8, 8)], spec(None, shape=(1, 4, 8, 8)), "no pictures of one or three channels"),
    ([torch.rand(2, 3)], spec(None, shape=(1, 3)), "no pictures"),
    ([torch.rand(2, 3, 8, 8)] * 2, spec(None, shape=(1, 3, 8, 8)), "several inputs"),
])  # fmt: skip
def test_what_is_no_picture_stays_a_tensor_and_the_reason_is_told(loaded, given, reason):
    candidates = pictured(Candidates(loaded, None), given, answers)
    assert candidates.pixels is None
    assert candidates.stored is loaded
    assert reason in candidates.reason


@pytest.mark.parametrize(("loaded", "given", "reason"), [
    (BYTES / 255, spec(), "lie between 0 and 1, so they are not normalised"),
    (BYTES, spec(), "are no pixels by bundle.mean and bundle.std"),
    (normalised(BYTES / 255), spec(0.5, 0.5), "are no pixels by bundle.mean and bundle.std"),
    (normalised(BYTES / 255, 0.5, 0.5), spec(), "were not normalised by bundle.std"),
    (normalised(BYTES / 255), spec(MEAN + 0.3, STD), "are no pixels by bundle.mean and bundle.std"),
], ids=["unnormalised", "bytes", "larger", "finer", "brighter"])  # fmt: skip
def test_a_mean_and_std_that_are_not_the_loaders_are_refused_in_one_line(loaded, given, reason):
    with pytest.raises(DataError, match=reason) as refusal:
        found(loaded, given)
    assert str(refusal.value).startswith("data.test: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("loaded", [
    normalised(BYTES / 256), normalised((BYTES / 255).round(decimals=2)), normalised((BYTES > 99).float()),
    normalised(torch.rand(8, 3, 16, 16) * 0.3 + 0.5),
], ids=["of 256", "hundredths", "masks", "bright"])  # fmt: skip
def test_pictures_that_bytes_hold_well_enough_are_pixels(loaded):
    assert found(loaded, spec()).pixels is not None


def test_a_resize_that_overshoots_a_little_is_cut_off():
    loaded = BYTES / 255
    loaded[:, :, 0, 0] = 1.05
    candidates = found(normalised(loaded), spec())
    assert int(candidates.pixels[:, 0, 0].min()) == 255


# ---- how many -------------------------------------------------------------------------------------------------------
def test_as_many_samples_as_fit_beside_the_least_of_their_outputs():
    scores = [torch.zeros(1, 10)]
    assert affordable(8, 1000, scores, 3, 8 * (1000 + 120)) == 8
    assert affordable(8, 1000, scores, 3, 8 * (1000 + 120) - 1) == 7
    assert affordable(8, 1000, scores, 3, 0) == 1
    maps = [torch.zeros(1, 100, 100)]
    assert affordable(8, 1000, maps, 3, 3000 + 3 * 4 * LEAST) == 3


def test_outputs_that_fit_are_kept_whole():
    assert steps([torch.zeros(8, 10)], 3, 960) == ()
    assert steps([torch.zeros(8, 10), torch.zeros(2, 2)], 1, 0) == ()


@pytest.mark.parametrize("limit", [0, 10_000, 100_000])
def test_large_outputs_are_thinned_and_small_ones_are_not(limit):
    outputs = [torch.zeros(8, 6, 96, 96), torch.zeros(8, 4)]
    large, small = steps(outputs, 3, limit)
    assert small == 1
    kept = math.ceil(outputs[0].numel() / large)
    assert 3 * 4 * (kept + 32) <= max(limit, 3 * 4 * (LEAST + 32))
    assert kept > 0.9 * min((limit / 12 - 32), LEAST) or limit == 0
    places = torch.arange(outputs[0].numel()).reshape(outputs[0].shape).flatten()[::large]
    for size in (96, 96 * 96):  # every column, or every channel and sample
        assert len((places % size if size == 96 else places // size).unique()) > 0.9 * min(48, kept)
