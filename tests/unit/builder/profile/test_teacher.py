"""Before anything is distilled: a teacher no better than chance is told, labels it has no score for are refused."""

import math

import pytest
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from legodnn.builder import CommonModelManager
from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.managers import (
    AbstractModelManager,
    AnomalyManager,
    DetectionManager,
    PoseManager,
    SegmentationManager,
)
from legodnn.builder.profile.teacher import Counted, check_labels, judge_teacher
from legodnn.shared.errors import DataError, ModelError
from legodnn.shared.tasks.prediction import standard_error


class Says(nn.Module):
    """Scores of the class that the input's first number names, right so often as the data want it to be."""

    def __init__(self, classes=2):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return nn.functional.one_hot(x[:, 0].long() % self.classes, self.classes).float()


def data(labels, answers, size=16):
    """Batches whose inputs name the answers that `Says` gives."""
    x, y = torch.tensor(answers).float().unsqueeze(1), torch.tensor(labels)
    return list(zip(x.split(size), y.split(size), strict=True))


def half_right(count, right, classes=2):
    """As many of each class, and as many right answers as are wanted, spread over the classes."""
    labels = [i % classes for i in range(count)]
    return data(labels, [y if i < right else (y + 1) % classes for i, y in enumerate(labels)])


def test_inputs_are_counted_anew_in_every_pass_and_are_none_before_the_first():
    loader = Counted([(torch.zeros(3), 0), [torch.zeros(4), 0], torch.zeros(5), (), "no tensor", torch.tensor(1.0)])
    assert loader.inputs == 0
    for _ in range(2):
        assert len(list(loader)) == len(loader) == 6
        assert loader.inputs == 12


# ---- chance ---------------------------------------------------------------------------------------------------------
def test_a_teacher_that_knows_something_is_no_reason_to_warn():
    found = judge_teacher(CommonModelManager(), Says(), half_right(40, 36))
    assert (found.metric, found.accuracy, found.chance, found.inputs) == ("top-1 accuracy", 0.9, 0.5, 40)
    assert found.warnings == []
    assert found.judgement.figures["top-1 accuracy"] == 0.9


@pytest.mark.parametrize("right", [20, 19])
def test_a_teacher_no_better_than_chance_is_told_with_both_figures(right):
    [warning] = judge_teacher(CommonModelManager(), Says(), half_right(40, right)).warnings
    figures = f"the teacher's top-1 accuracy, {right / 40:.2%}, is no better than chance, 50.00%"
    assert warning.startswith(f"data.test: {figures}")


def test_a_teacher_within_the_sampling_error_of_chance_is_told():
    margin = 2 * standard_error(0.5, 40)
    for right in range(21, 32):
        found = judge_teacher(CommonModelManager(), Says(), half_right(40, right)).warnings
        assert bool(found) == (right / 40 <= 0.5 + margin)
        assert all("on 40 inputs not to be told from chance, 50.00%" in text for text in found)


def test_classes_that_are_swapped_are_guessed():
    [warning] = judge_teacher(CommonModelManager(), Says(), half_right(40, 6)).warnings
    assert "its AUROC is 15.00%: are the two classes swapped in the labels?" in warning
    [other] = judge_teacher(CommonModelManager(), Says(3), half_right(42, 3, classes=3)).warnings
    assert "swapped" not in other
    assert "look at its weights" in other


class Own(CommonModelManager):
    metric = "kindness"

    def get_model_acc(self, model, test_loader, device):
        assert sum(1 for _ in test_loader)
        return 0.75


class Balanced(CommonModelManager):
    metric = "balanced accuracy"


class OwnBalanced(Balanced):
    def get_model_acc(self, model, test_loader, device):
        return 0.5


class OwnBatches(Own):
    """Its batches are no images and labels."""


class Bare(AbstractModelManager):
    def forward_to_gen_mid_data(self, model, batch_data, device):
        return model(batch_data)

    def get_model_acc(self, model, test_loader, device):
        return sum(len(batch) for batch in test_loader) / 100


def test_a_metric_of_one_s_own_is_judged_by_the_application_s_chance():
    loader = half_right(40, 12)
    found = judge_teacher(Own(), Says(), loader)
    assert (found.metric, found.accuracy, found.chance, found.inputs) == ("kindness", 0.75, None, 40)
    assert "the teacher's top-1 accuracy, 30.00%, is no better than chance, 50.00%" in found.warnings[0]
    assert judge_teacher(Own(), Says(), half_right(40, 36)).warnings == []
    assert "balanced accuracy, 30.00%" in judge_teacher(Balanced(), Says(), loader).warnings[0]
    # Its own figure where the name is the application's.
    assert "balanced accuracy, 50.00%" in judge_teacher(OwnBalanced(), Says(), half_right(40, 36)).warnings[0]


def test_batches_of_one_s_own_need_not_be_the_application_s():
    found = judge_teacher(OwnBatches(), Says(), [{"pictures": torch.zeros(3, 1)}])
    assert (found.accuracy, found.judgement, found.inputs, found.warnings) == (0.75, None, 0, [])
    found = judge_teacher(Bare(), Says(), [torch.zeros(3, 1), torch.zeros(4, 1)])
    assert (found.accuracy, found.judgement, found.inputs, found.warnings) == (0.07, None, 7, [])


def test_other_applications_are_compared_with_their_chance():
    scores, truths = torch.tensor([[0.1], [0.9], [0.8], [0.05]]), torch.tensor([0, 1, 0, 1])
    [warning] = judge_teacher(AnomalyManager(), nn.Identity(), [(scores, truths)]).warnings
    assert "the teacher's AUROC, 50.00%, is no better than chance, 50.00%" in warning
    poses = torch.tensor([[[1.0, 1, 1]], [[9.0, 9, 1]]])
    assert judge_teacher(PoseManager(), nn.Identity(), [(poses, poses, torch.tensor([10.0, 10]))]).warnings == []


def test_random_numbers_are_left_as_they_were():
    loader = DataLoader(TensorDataset(torch.rand(8, 1), torch.zeros(8, dtype=torch.long)), 4, shuffle=True)
    torch.manual_seed(5)
    judge_teacher(CommonModelManager(), Says(), loader)
    check_labels(CommonModelManager(), Says(), {"data.test": loader})
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


# ---- what is no accuracy --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("says", [87.2, -0.5, math.nan, math.inf])
def test_an_accuracy_that_is_no_fraction_is_refused(says):
    class Percent(CommonModelManager):
        def get_model_acc(self, model, test_loader, device):
            return says

    with pytest.raises(ModelError, match=f"get_model_acc of Percent says {says:g} for the teacher; a fraction"):
        judge_teacher(Percent(), Says(), half_right(8, 8))


def test_answers_that_are_no_numbers_are_refused():
    class Sick(nn.Module):
        def forward(self, x):
            return torch.cat([x, x * math.nan], 1)

    with pytest.raises(ModelError, match=r"answers on data.test are not finite numbers \(8 of them\)"):
        judge_teacher(CommonModelManager(), Sick(), half_right(8, 8))


def test_nothing_to_judge_and_data_that_do_not_fit_begin_with_their_name():
    with pytest.raises(DataError, match=r"^data\.test: nothing to judge"):
        judge_teacher(CommonModelManager(), Says(), [])
    with pytest.raises(DataError, match=r"^data\.test: a label is 7, the network knows 0 to 1$"):
        judge_teacher(CommonModelManager(), Says(), data([0, 7], [0, 1]))
    checked = CheckedLoader([], (1, 1), "data.test")
    with pytest.raises(DataError, match=r"^data\.test: the loader yields no batches$"):
        judge_teacher(CommonModelManager(), Says(), checked)


# ---- labels ---------------------------------------------------------------------------------------------------------
GOOD = data([0, 1] * 8, [0, 1] * 8, size=4)


class Counts(Dataset):
    """Examples whose label ``targets`` tells, or ``shown`` where that is something else; counts what is loaded."""

    def __init__(self, targets, shown=None):
        self.targets, self.shown, self.loaded = targets, shown or targets, []

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, number):
        self.loaded.append(number)
        return torch.zeros(1), self.shown[number]


def checked(loader, name):
    return CheckedLoader(loader, (1, 1), name, pairs=True)


@pytest.mark.parametrize("name", ["data.train", "data.test"])
@pytest.mark.parametrize("wrong", [2, -1])
def test_labels_in_memory_are_all_seen_before_anything_is_trained(name, wrong):
    bad = data([0, 1] * 7 + [1, wrong], [0, 1] * 8, size=4)
    other = "data.test" if name == "data.train" else "data.train"
    loaders = {other: checked(GOOD, other), name: checked(bad, name)}
    reason = f"^{name}: batch 3: a label is {wrong}, the network knows 0 to 1$"
    with pytest.raises(DataError, match=reason):
        check_labels(CommonModelManager(), Says(), loaders)
    with pytest.raises(DataError, match=reason):
        check_labels(CommonModelManager(), Says(), {other: GOOD, name: bad})
    check_labels(CommonModelManager(), Says(3), {other: GOOD, name: data([2, 1], [0, 1])})


@pytest.mark.parametrize("kind", [
    lambda labels: Counts(labels), lambda labels: Counts(torch.tensor(labels)),
    lambda labels: TensorDataset(torch.zeros(len(labels), 1), torch.tensor(labels)),
], ids=["list", "tensor", "tensors"])  # fmt: skip
def test_labels_that_a_data_set_holds_are_found_without_loading_it(kind):
    dataset = kind([0, 1] * 50 + [5, 1])
    with pytest.raises(DataError, match=r"^data\.train: example 100: a label is 5, the network knows 0 to 1$"):
        check_labels(CommonModelManager(), Says(), {"data.test": GOOD, "data.train": checked(DataLoader(dataset), "x")})
    if isinstance(dataset, Counts):
        assert dataset.loaded == [100]
    part = Subset(dataset, [3, 101, 100])
    with pytest.raises(DataError, match=r"^data\.train: example 2: a label is 5"):
        check_labels(CommonModelManager(), Says(), {"data.test": GOOD, "data.train": DataLoader(part)})
    check_labels(CommonModelManager(), Says(), {"data.test": GOOD, "data.train": DataLoader(Subset(dataset, [3, 101]))})


def test_what_a_data_set_makes_of_its_labels_counts():
    dataset = Counts([0, 1, 7, 1], shown=[0, 1, 0, 1])
    check_labels(CommonModelManager(), Says(), {"data.test": GOOD, "data.train": DataLoader(dataset)})
    assert dataset.loaded == [2]


class Lazy:
    """A loader that holds nothing; counts its passes."""

    def __init__(self, batches):
        self.batches, self.given = batches, 0

    def __iter__(self):
        for batch in self.batches:
            self.given += 1
            yield batch


def test_other_test_data_are_read_and_training_batches_are_checked_as_they_come():
    bad = data([0, 1] * 7 + [1, 9], [0, 1] * 8, size=4)
    with pytest.raises(DataError, match=r"^data\.test: batch 3: a label is 9"):
        check_labels(CommonModelManager(), Says(), {"data.test": Lazy(bad)})
    lazy = Lazy(bad)
    train = checked(lazy, "data.train")
    check_labels(CommonModelManager(), Says(), {"data.test": GOOD, "data.train": train})
    assert lazy.given == 0
    for loader in (train, train.around(Lazy(bad))):
        seen = iter(loader)
        assert len([next(seen) for _ in range(3)]) == 3
        with pytest.raises(DataError, match=r"^data\.train: batch 3: a label is 9, the network knows 0 to 1$"):
            next(seen)


def test_masks_are_checked_as_well_but_for_pixels_without_a_label():
    images, masks = torch.zeros(2, 3, 2, 2), torch.tensor([[[0, 1], [2, 255]], [[0, 0], [0, 0]]])
    network = nn.Conv2d(3, 3, 1)
    check_labels(SegmentationManager(), network, {"data.test": [(images, masks)]})
    masks[1, 0, 0] = 3
    with pytest.raises(DataError, match=r"^data\.test: batch 0: a label is 3, the network knows 0 to 2$"):
        check_labels(SegmentationManager(), network, {"data.test": [(images, masks)]})


def test_managers_with_labels_of_their_own_and_other_applications_are_left_alone():
    bad = data([0, 9], [0, 1])
    check_labels(Own(), Says(), {"data.test": bad})
    check_labels(Bare(), Says(), {"data.test": [torch.zeros(3, 1)]})
    check_labels(AnomalyManager(), nn.Identity(), {"data.test": bad})


def test_a_network_stays_as_it_is():
    modes = []
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), Says()).train()
    network[0].eval()
    network[2].register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_labels(CommonModelManager(), network, {"data.test": GOOD})
    judge_teacher(CommonModelManager(), network, GOOD)
    assert [module.training for module in network.modules()] == [True, False, True, True]
    assert set(modes) == {(False, False)}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_manager_of_another_kind_of_network_is_named():
    with pytest.raises(ModelError, match="manager: DetectionManager cannot read the network's answers"):
        judge_teacher(DetectionManager(), Says(), GOOD)
