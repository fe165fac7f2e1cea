"""Footage with intruders, and networks that learn from it though nobody has labelled it."""

import pytest
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.recipe.load import load_recipe
from legodnn.builder.recipe.resolve import build_loaders, build_manager, build_model, teacher_training
from legodnn.builder.teach.settings import Settings
from legodnn.builder.workdir.seeds import set_random_seed
from legodnn.builder.zoo.anomaly import ordinal_training as ordinal
from legodnn.builder.zoo.anomaly import watched
from legodnn.builder.zoo.anomaly.first_look import FirstLook
from legodnn.builder.zoo.common import garments
from legodnn.builder.zoo.common.garments import Garments
from legodnn.shared.errors import ModelError
from legodnn.shared.tasks.anomaly import auroc
from legodnn.shared.vision.images import write_image

SIZE = 32


# ---- data -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def made_up_garments(fashion, monkeypatch):
    monkeypatch.setenv("FASHION_MNIST", str(fashion))


@pytest.fixture
def nobody(monkeypatch):
    """Footage without intruders: whoever asks for them gets none, and the rest stays as it was."""

    def forget():
        monkeypatch.setattr(watched, "INTRUDED", dict.fromkeys(watched.INTRUDED, 0.0))

    return forget


@pytest.mark.usefixtures("made_up_garments")
def test_an_intruder_is_in_the_frames_that_are_called_abnormal_and_in_no_other(nobody):
    frames, abnormal = watched.footage("test", 300, 48)
    assert 0.35 < abnormal.float().mean() < 0.45
    nobody()
    without, none = watched.footage("test", 300, 48)
    assert not none.any()
    changed = (frames != without).any(1).flatten(1).sum(1)
    assert (changed[abnormal == 0] == 0).all()
    assert (changed[abnormal == 1] > 20).all()


@pytest.mark.usefixtures("made_up_garments")
def test_footage_is_the_same_again_and_another_in_another_split_of_the_same_place():
    first, again, other = (watched.footage(split, 200, 48)[0] for split in ("test", "test", "held-out"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    ground, same = (frames.float().median(0)[0].flatten() for frames in (first, other))
    assert torch.corrcoef(torch.stack([ground, same]))[0, 1] > 0.97
    elsewhere = watched.footage("test", 200, 48, seed=1)[0].float().median(0)[0].flatten()
    assert torch.corrcoef(torch.stack([ground, elsewhere]))[0, 1] < 0.9


def test_the_light_changes_slowly():
    light = watched._light(2000, torch.Generator().manual_seed(0))
    assert (light[1:] - light[:-1]).abs().max() < 0.01
    assert light.amax() - light.amin() > 0.3


def test_intruders_are_of_kinds_that_never_pass_by_or_lie_on_their_side():
    generator = torch.Generator().manual_seed(0)
    nothing = torch.zeros(10, 28, 28)
    every = Garments(nothing, nothing, torch.arange(10))
    clothes, strange = every.of_kinds(watched.CLOTHES), every.of_kinds(watched.STRANGE)
    assert sorted([*clothes.kinds.tolist(), *strange.kinds.tolist()]) == list(range(10))
    passing = watched._passing(clothes, 400, generator)
    assert set(passing.garments.kinds.tolist()) == set(watched.CLOTHES)
    assert passing.angle.abs().max() < 0.11
    intruding = watched._intruding(clothes, strange, 0.12, 400, generator)
    assert int(intruding.there.sum()) == 48
    lies = intruding.angle.abs() > 1.4
    assert torch.equal(lies, torch.isin(intruding.garments.kinds, torch.tensor(watched.CLOTHES)))
    assert float(lies.float().mean()) == pytest.approx(watched.LYING, abs=0.07)
    assert set(intruding.garments.kinds[~lies].tolist()) == set(watched.STRANGE)


# ---- unlabelled frames ----------------------------------------------------------------------------------------------
def bars(count=384, strange=0.12, seed=0):
    """Frames (count, 3, SIZE, SIZE) of a striped ground in changing light: upright bars, at times one that lies (1)."""
    generator = torch.Generator().manual_seed(seed)
    frames = 0.3 * torch.sin(torch.arange(SIZE) / 2).expand(count, 3, SIZE, SIZE).clone()
    lying = (torch.rand(count, generator=generator) < strange).long()
    places = torch.randint(2, SIZE - 14, (count, 2, 2), generator=generator)
    colours = torch.rand(count, 2, 3, 1, 1, generator=generator) + 0.7
    for frame, kind, where, colour in zip(frames, lying, places.tolist(), colours, strict=True):
        for number, (top, left) in enumerate(where):
            high, wide = (4, 12) if kind and number else (12, 4)
            frame[:, top : top + high, left : left + wide] = colour[number]
    light = 1 + 0.2 * torch.sin(torch.arange(count) / 40).view(-1, 1, 1, 1)
    return frames * light + 0.02 * torch.randn(frames.shape, generator=generator), lying


def area(scorer, frames, abnormal):
    with torch.no_grad():
        return auroc(scorer(frames).flatten().double(), abnormal == 1)


def unlabelled(frames, batch=32):
    shuffled = DataLoader(TensorDataset(frames), batch, shuffle=True)
    return CheckedLoader(shuffled, (1, 3, SIZE, SIZE), "data.train")


def small():
    """A network that scores frames and is fast to train."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 5, 2, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 24, 5, 2, 2), nn.BatchNorm2d(24),
        nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(24, 1),
    )  # fmt: skip


def settings_in(folder, epochs, rate=3e-3):
    folder.mkdir(exist_ok=True)
    return Settings(epochs, rate, torch.device("cpu"), 0, folder / "partial.pt")


def test_a_first_look_finds_what_is_seldom_seen_whatever_the_light():
    frames, lying = bars()
    look = FirstLook((SIZE, SIZE))
    look.learn(lambda: frames.split(50))
    assert area(look, frames, lying) > 0.85
    scores = look(frames[:8])
    assert (scores >= 0).all()
    torch.testing.assert_close(look(1.7 * frames[:8] - 0.4), scores, rtol=1e-3, atol=1e-4)
    again = FirstLook((SIZE, SIZE))
    again.load_state_dict(look.state_dict())
    assert torch.equal(again(frames[:8]), scores)


def test_frames_that_are_all_the_same_are_no_trouble():
    look = FirstLook((SIZE, SIZE))
    look.learn(lambda: [torch.zeros(5, 3, SIZE, SIZE)])
    assert look(torch.zeros(2, 3, SIZE, SIZE)).tolist() == [[0.0], [0.0]]


def test_a_network_learns_without_labels_to_find_more_than_the_first_look(tmp_path):
    (frames, _), (unseen, lying) = bars(), bars(seed=1)
    look = FirstLook((SIZE, SIZE))
    look.learn(lambda: [frames])
    set_random_seed(0)
    model = small()
    before = area(model.eval(), unseen, lying)
    ordinal.train(model, unlabelled(frames), settings_in(tmp_path, 30), each=15)
    assert not model.training
    assert area(model, unseen, lying) > max(before, area(look, unseen, lying))


def test_the_strangest_frames_are_chosen_and_thrice_as_many_of_the_others(tmp_path):
    frames, lying = bars()
    chosen = ordinal.Chosen(unlabelled(frames), settings_in(tmp_path, 1))
    chosen.choose(None)
    kept, called = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    assert (int(called.sum()), int((~called).sum())) == (38, 114)
    truths = torch.tensor([int(lying[(frames == frame).flatten(1).all(1)]) for frame in kept])
    assert truths[called].float().mean() > 0.5
    assert truths[~called].float().mean() < 0.08
    assert sum(len(frames) for frames, _ in chosen) == len(kept)
    assert len(list(chosen)) == len(chosen) == 5


def test_where_there_is_no_room_for_all_fewer_frames_are_kept(tmp_path, monkeypatch):
    frames, _ = bars()
    chosen = ordinal.Chosen(unlabelled(frames), settings_in(tmp_path, 1))
    chosen.choose(None)
    whole = {frame.numpy().tobytes(): bool(called) for batch in chosen for frame, called in zip(*batch, strict=True)}
    monkeypatch.setattr(ordinal, "KEPT_BYTES", 60 * frames[0].numel() * 4)
    chosen.load_state_dict(chosen.state_dict())
    few = {frame.numpy().tobytes(): bool(called) for batch in chosen for frame, called in zip(*batch, strict=True)}
    assert 60 < len(few) < 100
    assert few.items() <= whole.items()


def test_reading_frames_makes_no_difference_to_what_is_drawn_later(tmp_path):
    chosen = ordinal.Chosen(unlabelled(bars(64)[0]), settings_in(tmp_path, 1))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    chosen.choose(None)
    assert torch.equal(torch.rand(1), expected)


def test_a_self_training_that_was_interrupted_ends_as_one_that_was_not(tmp_path, monkeypatch):
    frames, _ = bars(96)

    def trained(folder, stop_after=None):
        set_random_seed(0)
        model, count, error = small(), 0, ordinal.ordinal_error

        def counted(*arguments):
            nonlocal count
            count += 1
            if count == stop_after:
                raise KeyboardInterrupt
            return error(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(ordinal, "ordinal_error", counted)
            ordinal.train(model, unlabelled(frames), settings_in(folder, 4), each=2)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    whole = trained(tmp_path / "whole")
    for number, stop_after in enumerate((3, 5, 8)):  # of eight: two batches an epoch, two epochs a round
        broken = tmp_path / f"broken{number}"
        with pytest.raises(KeyboardInterrupt):
            trained(broken, stop_after)
        assert torch.equal(trained(broken), whole)


def test_the_few_abnormal_ones_weigh_as_much_as_the_many_normal_ones():
    scores = torch.tensor([0.0, 1.0, 0.5, 0.5])
    assert ordinal.ordinal_error(scores, torch.tensor([True, False, False, False])) == pytest.approx(1 + 1.5 / 3)
    assert ordinal.ordinal_error(scores, torch.zeros(4, dtype=torch.bool)) == pytest.approx(0.375)


def test_a_self_training_that_diverges_says_so(tmp_path):
    frames, _ = bars(64)
    with pytest.raises(ModelError, match=r"diverged; try a smaller teacher.learning_rate"):
        ordinal.train(small(), unlabelled(frames), settings_in(tmp_path, 2, float("inf")), each=1)


# ---- the recipe -----------------------------------------------------------------------------------------------------
def written(folder, frames):
    folder.mkdir(parents=True)
    for number, frame in enumerate((frames.clamp(-1, 1) * 127 + 128).byte()):
        rows = frame.permute(1, 2, 0).contiguous().numpy().tobytes()
        write_image(str(folder / f"{number:03}.png"), SIZE, SIZE, rows)


def test_the_recipe_takes_a_folder_of_frames_that_nobody_has_sorted(tmp_path):
    pytest.importorskip("PIL")
    frames, lying = bars(40)
    written(tmp_path / "footage", frames)
    written(tmp_path / "sorted" / "normal", frames[lying == 0][:6])
    written(tmp_path / "sorted" / "intruder", frames[lying == 1][:3])
    recipe = load_recipe("ordinal_regression", [
        f"data.train={tmp_path / 'footage'}", f"data.test={tmp_path / 'sorted'}", "model.kwargs.width=2",
        f"model.input=[1, 3, {SIZE}, {SIZE}]",
    ])  # fmt: skip
    loaders = build_loaders(recipe, build_manager(recipe).task)
    train, test = loaders.train, loaders.test
    assert sum(len(batch[0]) for batch in train) == 40
    assert sorted(torch.cat([truths for _, truths in test]).tolist()) == [0] * 6 + [1] * 3
    model = build_model(recipe)
    before = model.head[0].weight.detach().clone()
    teacher_training(recipe)(model, train, settings_in(tmp_path, 1))
    assert not torch.equal(model.head[0].weight, before)


@pytest.mark.usefixtures("made_up_garments")
def test_the_recipe_s_data_are_what_its_network_takes():
    recipe = load_recipe("ordinal_regression", ["data.train.kwargs.split=test", "data.train.kwargs.count=70"])
    loaders = build_loaders(recipe, build_manager(recipe).task)
    train, test = loaders.train, loaders.test
    assert [len(batch[0]) for batch in train] == [64, 6]
    (frames, truths), *_ = test
    assert build_model(recipe)(frames[:2]).shape == (2, 1)
    assert truths.dtype == torch.int64
    assert recipe.bundle.mean == (pytest.approx(garments.MEAN),) * 3
    assert recipe.bundle.std == (pytest.approx(garments.STD),) * 3
