"""Samples become pixels where they are pictures, and as many as a tenth of the weights allows."""

import math

import pytest
import torch

from legodnn.builder import AutoBlockManager, CommonModelManager
from legodnn.builder.bundle.samples import LEAST, Candidates, affordable, first_images, pictured, steps
from legodnn.shared.bundle.manifest import InputSpec
from legodnn.shared.errors import DataError
from legodnn.shared.vision.pixels import read_pixels
from tests.networks import images, network

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


# ---- the first images ----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def blocks():
    return AutoBlockManager((0.5,), network("functional"), CommonModelManager(), (1, 3, 8, 8), 0.5, round_to=1)


class Yielding:
    """Batches of three, and how many were taken."""

    def __init__(self, labels=True, count=4):
        self.images, self.labels, self.count, self.taken = images(3 * count), labels, count, 0

    def __iter__(self):
        for number in range(self.count):
            self.taken += 1
            x = self.images[3 * number : 3 * number + 3]
            yield (x, torch.arange(3 * number, 3 * number + 3)) if self.labels else (x,)


@pytest.mark.parametrize(("count", "taken", "found"), [
    (1, 1, 1), (3, 1, 3), (4, 2, 4), (7, 3, 7), (12, 4, 12), (50, 4, 12),
])  # fmt: skip
def test_the_first_images_are_taken_with_their_labels_and_no_batch_more_is_read(blocks, count, taken, found):
    loader = Yielding()
    candidates = first_images(blocks, loader, count)
    assert loader.taken == taken
    assert len(candidates) == found
    assert torch.equal(candidates.inputs[0], loader.images[:found])
    assert candidates.labels.tolist() == list(range(found))


@pytest.mark.parametrize("batch", [
    (images(3),), (images(3), [0, 1, 2]), (images(3), torch.zeros(3)),
    (images(3), torch.zeros(3, 1, dtype=torch.int64)),
], ids=["none", "a list", "fractions", "rows"])  # fmt: skip
def test_what_are_no_numbers_of_classes_are_no_labels(blocks, batch):
    candidates = first_images(blocks, [batch], 2)
    assert candidates.labels is None
    assert len(candidates) == 2


def test_a_loader_without_batches_is_refused(blocks):
    with pytest.raises(DataError, match="yields no batches"):
        first_images(blocks, [], 2)


@pytest.mark.parametrize("pixels", [None, torch.arange(10).view(10, 1)])
def test_a_part_has_inputs_labels_and_pixels_of_the_same_images(pixels):
    whole = Candidates([torch.arange(10.0), torch.arange(10.0) * 2], torch.arange(10), pixels, "why")
    part = whole.part(3, 4)
    assert [x.tolist() for x in part.inputs] == [[3, 4, 5, 6], [6, 8, 10, 12]]
    assert part.labels.tolist() == [3, 4, 5, 6]
    assert (part.pixels is None) == (pixels is None)
    assert pixels is None or part.pixels.flatten().tolist() == [3, 4, 5, 6]
    assert part.stored == ([part.pixels] if pixels is not None else part.inputs)
    assert part.reason == "why"
    assert len(part) == 4


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


@pytest.mark.parametrize(("elements", "fit", "step"), [
    (10_007, 1000, 11), (10_007, 1250, 9), (10_007, 1251, 8), (10_007, 10_006, 2), (10_007, 10_007, None),
    (10_000, 1000, 11), (10_000, 2000, 7), (10_000, 0, 41), (255, 0, None), (256, 0, None), (257, 0, 2),
])  # fmt: skip
@pytest.mark.parametrize("cases", [1, 3])
def test_an_output_is_thinned_by_the_least_step_without_a_common_factor_by_which_it_fits(elements, fit, step, cases):
    found = steps([torch.zeros(elements)], cases, 4 * cases * fit)
    assert found == (() if step is None else (step,))
    assert steps([torch.zeros(elements)], cases, 4 * cases * (fit + 1) - 1) == found
    assert steps([torch.zeros(elements, dtype=torch.float64)], cases, 8 * cases * fit) == found


def test_what_a_small_output_takes_is_counted_once():
    outputs = [torch.zeros(10_007), torch.zeros(300)]
    assert steps(outputs, 1, 4 * (1000 + 300)) == (11, 1)
    assert steps(outputs, 1, 4 * (1251 + 300)) == (8, 1)
    assert steps(outputs, 1, 4 * (1251 + 300) - 1) == (9, 1)


# ---- steps of bytes ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("values", "refused"), [(40, True), (32, True), (31, False), (4, False)])
def test_pictures_of_few_values_say_nothing_about_std(values, refused):
    """Halved pictures, whose values are as far apart as with half the std, of so many values."""
    few = (torch.randint(0, values, (8, 3, 16, 16), generator=torch.Generator().manual_seed(2)) + 100).float()
    loaded = normalised(few / 255 / 2)
    if refused:
        with pytest.raises(DataError, match=r"were not normalised by bundle.std: neighbouring values are 0\.50 steps"):
            found(loaded, spec())
    else:
        assert found(loaded, spec()) is not None


def test_the_std_that_pictures_are_compared_with_is_that_of_the_first_channel():
    first, second = BYTES / 255, BYTES / 255
    first[:, 0] /= 2
    second[:, 1] /= 2
    assert found(normalised(second), spec()).pixels is not None
    with pytest.raises(DataError, match=r"0\.50 steps of a byte"):
        found(normalised(first), spec())


def test_fractions_that_lie_in_no_equal_steps_say_nothing_about_std():
    uneven = (torch.arange(200.0) / 255).sqrt() * 0.9
    picked = uneven[torch.randint(0, 200, (8, 3, 16, 16), generator=torch.Generator().manual_seed(2))]
    assert found(normalised(picked), spec()).pixels is not None
