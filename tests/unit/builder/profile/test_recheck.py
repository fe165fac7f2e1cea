"""The teacher is judged twice on the first batches, and has to be the same."""

import dataclasses

import pytest
import torch

from legodnn.builder.managers import AnomalyManager, CommonModelManager
from legodnn.builder.profile.recheck import BATCHES, judged, require_agreement
from legodnn.shared.errors import DataError
from tests.networks import images, network


class Counted:
    """A loader that counts the batches it has yielded."""

    def __init__(self, batches):
        self.batches, self.yielded = batches, 0

    def __iter__(self):
        for batch in self.batches:
            self.yielded += 1
            yield batch


def batches(count=6, seed=0, right=1.0):
    teacher = network("functional")
    found = []
    for number in range(count):
        x = images(20, seed=seed + number)
        labels = teacher(x).argmax(1)
        wrong = round((1 - right) * 20)
        labels[:wrong] = (labels[:wrong] + 1) % 4
        found.append((x, labels))
    return found


def again(found, loader, model=None):
    require_agreement(found, CommonModelManager(), model or network("functional"), loader, "cpu")


def test_only_the_first_batches_are_judged_and_the_same_agree():
    loader = Counted(batches(right=0.9))
    found = judged(CommonModelManager(), network("functional"), loader, "cpu")
    assert (found.batches, found.images) == (BATCHES, 20 * BATCHES)
    assert loader.yielded <= BATCHES + 1
    assert found.accuracy == pytest.approx(0.9)
    again(found, loader)


@pytest.mark.parametrize(("loader", "reason"), [
    (batches(right=0.0), r"top-1 accuracy on its first 80 images is 0\.00%, but 100\.00% in the profile: labels"),
    (batches(right=0.9), "90.00%, but 100.00%"),
    (batches(seed=7), "not those that the profile was measured on"),
    (batches(count=3), "not those that the profile was measured on"),
    ([(x[:10], y[:10]) for x, y in batches()], "not those that the profile was measured on"),
], ids=["swapped", "a tenth", "other images", "fewer", "another batch size"])  # fmt: skip
def test_other_labels_or_images_are_refused(loader, reason):
    found = judged(CommonModelManager(), network("functional"), batches(), "cpu")
    with pytest.raises(DataError, match=reason) as refusal:
        again(found, loader)
    assert "\n" not in str(refusal.value)


def test_another_teacher_is_refused():
    found = judged(CommonModelManager(), network("functional"), batches(), "cpu")
    other = network("functional")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(-parameter)
    with pytest.raises(DataError, match="labels or weights have changed"):
        again(found, batches(), other)


def test_one_image_that_rounding_moved_counts_as_agreement():
    found = judged(CommonModelManager(), network("functional"), batches(1), "cpu")
    [(x, labels)] = batches(1)
    labels[0] = (labels[0] + 1) % 4
    again(found, [(x, labels)])


def test_a_metric_that_few_batches_do_not_define_is_judged_on_all():
    kinds = [(images(8, seed=n), torch.full((8,), int(n > BATCHES))) for n in range(BATCHES + 3)]
    scores = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1)).eval()
    found = judged(AnomalyManager(), scores, kinds, "cpu")
    assert (found.batches, found.images) == (None, 8 * len(kinds))
    require_agreement(found, AnomalyManager(), scores, kinds, "cpu")


def test_a_loader_that_shuffles_yields_the_same_batches_and_no_random_number_is_used_up():
    x, labels = (torch.cat(part) for part in zip(*batches(), strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=16, shuffle=True)
    teacher = network("functional")
    found = judged(CommonModelManager(), teacher, loader, "cpu")
    torch.manual_seed(found.seed + 5)
    expected = torch.rand(3)
    torch.manual_seed(found.seed + 5)
    again(found, loader, teacher)
    assert torch.equal(torch.rand(3), expected)
    with pytest.raises(DataError, match="not those"):
        again(dataclasses.replace(found, seed=found.seed + 1), loader)
