"""The built-in data, and how teachers are trained on them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from legodnn.builder import AutoBlockManager, BlockRetrainer
from legodnn.builder.data.checked import CheckedLoader
from legodnn.builder.managers import ActionManager, AnomalyManager, PoseManager
from legodnn.builder.managers.pose import Peaks
from legodnn.builder.recipe.load import builtin_recipes, load_recipe
from legodnn.builder.recipe.resolve import build_model
from legodnn.builder.recipe.teacher import teacher_stage, trained_teacher
from legodnn.builder.teach import classification, pose, segmentation
from legodnn.builder.teach.fit import fit, run_epochs
from legodnn.builder.teach.settings import Settings
from legodnn.builder.workdir.progress import progress
from legodnn.builder.workdir.seeds import set_random_seed
from legodnn.builder.zoo.action import motions
from legodnn.builder.zoo.action.r3d import r3d_18
from legodnn.builder.zoo.anomaly import anomalies
from legodnn.builder.zoo.anomaly import ganomaly_training as ganomaly
from legodnn.builder.zoo.anomaly.networks import ganomaly as ganomaly_network
from legodnn.builder.zoo.common import scenes
from legodnn.builder.zoo.common.garments import drawn, garments
from legodnn.builder.zoo.pose import poses
from legodnn.builder.zoo.pose.networks import deeppose_resnet18, simple_baseline_resnet18
from legodnn.builder.zoo.segmentation.networks import fcn_resnet18
from legodnn.shared.errors import DataError, ModelError, UsageError


@pytest.fixture(autouse=True)
def made_up_garments(fashion, monkeypatch):
    monkeypatch.setenv("FASHION_MNIST", str(fashion))


# ---- data -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "make",
    [
        lambda split: scenes.scenes(split, 6, 48).images,
        lambda split: motions.clips(split, 9, 3, 24)[0],
        lambda split: poses.poses(split, 6, 32).images,
        lambda split: anomalies.images(split, 8)[0],
    ],
)
def test_data_are_the_same_again_and_others_in_another_split(make):
    assert torch.equal(make("test"), make("test"))
    assert not torch.equal(make("test"), make("held-out"))


def test_splits_are_made_of_different_garments():
    test, held_out = garments("test"), garments("held-out")
    assert len(test) == len(held_out) == 5000
    assert not (test.brightness[:500].flatten(1)[:, None] == held_out.brightness[:500].flatten(1)).all(2).any()
    with pytest.raises(DataError, match="split 'tset' is none of train, test, held-out"):
        garments("tset")


def test_boxes_are_those_of_what_masks_show():
    made = scenes.scenes("test", 24, 64)
    for mask, objects in zip(made.masks, made.objects, strict=True):
        assert sorted(mask.unique().tolist()) == sorted({0, *objects.labels.tolist()})
        rows = zip(objects.boxes.int().tolist(), objects.labels.tolist(), strict=True)
        for (left, top, right, bottom), label in rows:
            inside = mask[top:bottom, left:right] == label
            assert all(bool(edge.any()) for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        for label in set(objects.labels.tolist()):
            covered = torch.zeros_like(mask, dtype=torch.bool)
            for left, top, right, bottom in objects.boxes[objects.labels == label].int().tolist():
                covered[top:bottom, left:right] = True
            assert not ((mask == label) & ~covered).any()


def test_garments_are_put_in_one_by_one_where_each_still_leaves_enough_of_the_others(monkeypatch):
    source, n, size = garments("test"), 80, 48
    seen = []
    monkeypatch.setattr(scenes, "drawn", lambda *given: (seen.append(drawn(*given)), seen[-1])[1])
    ground = torch.full((n, 3, size, size), 0.125)
    picture = ground.clone()
    owner, classes = scenes._fill(picture, source, torch.Generator().manual_seed(3))
    wanted = torch.randint(1, scenes.MOST_GARMENTS + 1, (n,), generator=torch.Generator().manual_seed(3))
    layers = [iter(part) for part in seen]
    left_out = 0
    for i, count in enumerate(wanted.tolist()):
        shown, whole = torch.zeros(size, size, dtype=torch.uint8), {}
        for number in range(1, count + 1):
            there = next(layers[number - 1])[1] > 0.5
            after = shown.masked_fill(there, number)
            fits = bool(there.any()) and all((after == k).sum() >= 0.6 * whole[k] for k in whole)
            left_out += not fits
            if fits:
                shown, whole[number] = after, there.sum()
        assert torch.equal(owner[i], shown)
        assert torch.equal(picture[i][:, shown == 0], ground[i][:, shown == 0])
        [objects] = scenes._objects(owner[i : i + 1], classes[i : i + 1])
        assert objects.labels.tolist() == [int(classes[i, k]) for k in sorted(whole)]
        for k in whole:
            coloured = picture[i][:, shown == k]
            assert torch.allclose(coloured / coloured[:1], (coloured / coloured[:1])[:, :1], atol=1e-4)
    assert all(next(part, None) is None for part in layers)
    assert left_out > 5


def test_motions_are_what_their_class_says():
    classes = torch.arange(9).repeat(20)
    first, second = motions.motions(classes, 8, 48, torch.Generator().manual_seed(0))
    middle = torch.tensor([13.5, 13.5, 1.0])
    start, end = first[:, 0] @ middle, first[:, -1] @ middle
    moved = end - start
    size = first[:, :, :, :2].det().abs().sqrt()
    turned = torch.atan2(first[..., 1, 0], first[..., 0, 0])
    by_class = {label: classes == i for i, label in enumerate(motions.LABELS)}
    assert (moved[by_class["moves left"], 0] < -8).all()
    assert (moved[by_class["moves right"], 0] > 8).all()
    assert (moved[by_class["moves up"], 1] < -8).all()
    assert (moved[by_class["moves down"], 1] > 8).all()
    assert ((turned[:, -1] - turned[:, 0])[by_class["turns clockwise"]] > 1).all()
    assert ((turned[:, -1] - turned[:, 0])[by_class["turns anticlockwise"]] < -1).all()
    assert ((size[:, -1] / size[:, 0])[by_class["grows"]] > 1.4).all()
    assert ((size[:, -1] / size[:, 0])[by_class["shrinks"]] < 0.75).all()
    cross = by_class["two cross"]
    apart = (first[cross] @ middle - second[cross] @ middle)[..., 0]
    assert (apart[:, 0] > 5).all()
    assert (apart[:, -1] < -5).all()
    still = ~by_class["moves left"] & ~by_class["moves right"] & ~cross
    assert (moved[still, 0].abs() < 0.01).all()


def test_keypoints_lie_on_the_garment_each_on_its_side():
    opacity = garments("test").of_kinds(poses.SLEEVED).opacity[:50]
    places = poses.keypoints_of(opacity)
    row, column = places[:, 1:, 1].long(), places[:, 1:, 0].long()
    assert (opacity[torch.arange(50).unsqueeze(1), row, column] > 0.5).all()
    assert (places[:, 1, 0] < places[:, 2, 0]).all()
    assert (places[:, 3, 0] < places[:, 4, 0]).all()
    assert (places[:, 0, 1] <= places[:, 3, 1]).all()


def test_visible_keypoints_are_inside_and_sizes_are_those_of_the_garments():
    made = poses.poses("test", 200, 32)
    visible = made.keypoints[..., 2] > 0
    assert 0.5 < visible.float().mean() < 1
    assert ((made.keypoints[..., :2] >= 0) & (made.keypoints[..., :2] < 32))[visible].all()
    spans = (made.keypoints[..., :2].amax(1) - made.keypoints[..., :2].amin(1)).amax(1)
    assert (made.sizes >= spans - 1e-3).all()
    assert (made.sizes < 80).all()


def test_every_second_image_is_abnormal_but_in_training_none():
    images, abnormal = anomalies.images("test", 40)
    assert abnormal.tolist() == [0, 1] * 20
    assert images.dtype == torch.uint8
    inputs, truths = next(iter(anomalies.loader("test", 40, batch=40)))
    assert (inputs.amin(), inputs.amax()) == (-1.0, pytest.approx(1.0, abs=0.05))
    assert torch.equal(truths, abnormal)


# ---- teachers -------------------------------------------------------------------------------------------------------
def settings_in(folder, epochs=2, seed=0, rate=3e-3):
    return Settings(epochs, rate, torch.device("cpu"), seed, folder / "partial.pt")


def checked(loader, *shape):
    return CheckedLoader(loader, (1, *shape), "data.train")


def losses(train, loss, model, loader, settings):
    """The mean loss over the loader before and after."""

    def mean():
        with torch.no_grad():
            return float(torch.stack([loss(model.eval(), batch) for batch in loader]).mean())

    before = mean()
    train(model, loader, settings)
    return before, mean()


def test_training_makes_losses_smaller(tmp_path):
    set_random_seed(0)
    masks = checked(scenes.masks("test", 64, 32, 16), 3, 32, 32)
    before, after = losses(
        segmentation.train, lambda m, b: F.cross_entropy(m(b[0]), b[1]), fcn_resnet18(4, 6), masks,
        settings_in(tmp_path, 15),
    )  # fmt: skip
    assert after < 0.8 * before
    moving = checked(motions.loader("test", 36, 4, 24, 12, "NCTHW"), 3, 4, 24, 24)
    (tmp_path / "clips").mkdir()
    before, after = losses(
        classification.train, lambda m, b: F.cross_entropy(m(b[0]), b[1]), r3d_18(4, 9), moving,
        settings_in(tmp_path / "clips", 40),
    )  # fmt: skip
    assert after < 0.9 * before


@pytest.fixture
def segmenter(tmp_path):
    """Trains FCN on a few scenes, in a precision."""

    def trained(precision):
        set_random_seed(0)
        model, loader = fcn_resnet18(4, 6), checked(scenes.masks("test", 64, 32, 16), 3, 32, 32)
        segmentation.train(model, loader, settings_in(tmp_path, 8), precision)
        (tmp_path / "partial.pt").unlink()
        loss = torch.stack([F.cross_entropy(model(images), masks) for images, masks in loader]).mean()
        return model.state_dict(), float(loss.detach())

    return trained


def test_bfloat16_teaches_as_much_and_leaves_float32(segmenter, monkeypatch):
    exact, expected = segmenter("fp32")
    monkeypatch.setattr(segmentation, "multiplies_bfloat16", lambda: True)
    rounded, loss = segmenter("bf16")
    assert loss == pytest.approx(expected, rel=0.1)
    assert all(value.dtype == exact[key].dtype for key, value in rounded.items())
    assert any(not torch.equal(value, exact[key]) for key, value in rounded.items())


def test_processors_slow_with_bfloat16_learn_in_float32(segmenter, monkeypatch):
    monkeypatch.setattr(segmentation, "multiplies_bfloat16", lambda: False)
    rounded, exact = segmenter("bf16")[0], segmenter("fp32")[0]
    assert all(torch.equal(value, exact[key]) for key, value in rounded.items())


def test_a_processor_is_fast_with_bfloat16_where_torch_knows_it_to_be(monkeypatch):
    for told in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=told: {"amx_bf16": told}, raising=False)
        assert segmentation.multiplies_bfloat16() == told
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not segmentation.multiplies_bfloat16()


def test_a_precision_there_is_not_is_refused(segmenter):
    with pytest.raises(UsageError, match="precision 'fp8' is none of fp32, bf16"):
        segmenter("fp8")


@pytest.mark.parametrize("make", [simple_baseline_resnet18, deeppose_resnet18])
def test_pose_networks_learn_and_are_read_as_keypoints(make, tmp_path):
    set_random_seed(0)
    loader = checked(poses.loader("test", 128, 32, 32), 3, 32, 32)
    model, manager = make(4, 5), PoseManager()

    def error():
        network = manager.network_to_cut(model, (1, 3, 32, 32))
        return manager.get_model_figures(network, loader, "cpu")["mean error"]

    before = error()
    pose.train(model, loader, settings_in(tmp_path, 6))
    assert error() < 0.8 * before


def test_peaks_are_found_to_a_quarter_of_their_step():
    places = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(0)) * 50 + 7
    keypoints = torch.cat([places, torch.ones(1, 50, 1)], 2)
    maps = pose.peaks(keypoints, 16, 16, 64, 64)
    reader = Peaks(64, 64)
    found = reader(maps)
    assert (found[..., :2] - places).abs().max() <= 1.0 + 1e-3
    assert torch.allclose(torch.jit.script(reader)(maps), found)


def test_a_network_that_gives_no_keypoints_is_refused():
    with pytest.raises(ModelError, match=r"heat maps \(n, k, h, w\) or coordinates .* not \(1, 6, 5\)"):
        PoseManager().network_to_cut(torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.Flatten(2)), (1, 3, 3, 7))


def test_ganomaly_learns_to_make_images_again(tmp_path):
    set_random_seed(0)
    loader = checked([(x, y) for x, y in anomalies.loader("test", 64, 32, 16)], 3, 32, 32)
    model = ganomaly_network(32, 4, 8)

    def distance(network, batch):
        return F.l1_loss(network.reconstruct(batch[0])[0], batch[0])

    before, after = losses(ganomaly.train, distance, model, loader, settings_in(tmp_path, 25, rate=2e-3))
    assert after < 0.9 * before
    with pytest.raises(ModelError, match="trains a GANomaly, not a Linear"):
        ganomaly.train(torch.nn.Linear(1, 1), loader, settings_in(tmp_path))


def test_a_threshold_lets_most_normal_inputs_pass():
    inputs = torch.linspace(0, 1, 101).unsqueeze(1)
    batches = [(inputs, torch.zeros(101)), (inputs + 5, torch.ones(101))]
    assert AnomalyManager().answer_spec(torch.nn.Identity(), batches, "cpu").threshold == pytest.approx(0.95)


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path):
    batches = [(torch.randn(8, 3, generator=torch.Generator().manual_seed(i)), torch.arange(8) % 2) for i in range(3)]
    loader = checked(batches, 3)

    def loss(model, batch):
        return F.cross_entropy(F.dropout(model(batch[0])), batch[1])

    def trained(folder, stop_after=None):
        folder.mkdir(exist_ok=True)
        set_random_seed(0)
        model = torch.nn.Linear(3, 2)
        count = 0

        def counted(network, batch):
            nonlocal count
            count += 1
            if count == stop_after:
                raise KeyboardInterrupt
            return loss(network, batch)

        fit(model, loader, counted, settings_in(folder, 3))
        return model.weight.detach()

    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", stop_after=8)
    assert torch.equal(trained(tmp_path / "broken"), whole)


def test_a_training_that_diverges_says_so(tmp_path):
    loader = checked([(torch.ones(2, 3), torch.zeros(2))], 3)
    with pytest.raises(ModelError, match=r"diverged; try a smaller teacher.learning_rate"):
        fit(torch.nn.Linear(3, 2), loader, lambda m, b: m(b[0]).sum() * float("nan"), settings_in(tmp_path))


def test_epochs_tell_how_far_they_are(tmp_path, capsys):
    seen = []
    run_epochs(checked([(torch.ones(1, 3),)], 3), settings_in(tmp_path, 4), {}, seen.append)
    assert len(seen) == 4
    with progress("nothing", 0):
        pass


# ---- the stage ------------------------------------------------------------------------------------------------------
TEACHER = """
import parts

def train(model, loader, settings):
    with open("calls.txt", "a") as file:
        file.write(f"{settings.epochs} {settings.seed}\\n")
    for parameter in model.parameters():
        parameter.data += settings.seed + 1
"""


def test_a_teacher_is_trained_once_for_its_settings(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder.path / "teacher.py").write_text(TEACHER)
    recipe = load_recipe(str(folder.recipe), ["teacher.train=teacher:train", "teacher.epochs=3"])
    loader = checked([(torch.ones(1, 3, 8, 8), torch.zeros(1))], 3, 8, 8)

    def weights(recipe, seed):
        untrained = build_model(recipe)
        stage = teacher_stage(recipe, untrained, tmp_path / "work", "cpu", seed)
        model = trained_teacher(recipe, untrained, stage, loader, "cpu")
        assert not model.training
        return torch.cat([p.flatten() for p in model.parameters()])

    first = weights(recipe, 0)
    assert torch.equal(weights(recipe, 0), first)
    assert (tmp_path / "calls.txt").read_text().splitlines() == ["3 0"]
    assert not torch.equal(weights(recipe, 1), first)
    longer = replace(recipe, teacher=replace(recipe.teacher, epochs=4))
    weights(longer, 1)
    assert (tmp_path / "calls.txt").read_text().splitlines() == ["3 0", "3 1", "4 1"]


def test_recipes_with_data_say_how_their_teacher_is_trained():
    for name in builtin_recipes():
        recipe = load_recipe(name)
        assert (recipe.data.train is not None) == (recipe.teacher.train is not None), name


# ---- 3-D convolutions -----------------------------------------------------------------------------------------------
def test_networks_of_3d_convolutions_are_distilled(tmp_path):
    set_random_seed(0)
    loader = list(motions.loader("test", 18, 4, 16, 6, "NCTHW"))
    model = r3d_18(4, 9).eval()
    blocks = AutoBlockManager([0.5], model, ActionManager(), (1, 3, 4, 16, 16), 0.25, round_to=1)
    blocks.extract_all_blocks(tmp_path / "compressed")
    results = BlockRetrainer(
        model, blocks, ActionManager(), tmp_path / "compressed", tmp_path / "trained", 1, loader
    ).train_all_blocks()
    assert len(results) == len(blocks.block_names)
    assert all(result.method != "failed" for result in results)
