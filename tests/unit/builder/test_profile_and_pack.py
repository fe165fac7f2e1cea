"""Profiling measures what running every variant by itself would; packing is deterministic and complete."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from legodnn.builder import AutoBlockManager, BlockProfiler, BlockRetrainer, BundleOptions, CommonModelManager, pack
from legodnn.builder.distill import results as results_module
from legodnn.builder.distill.results import read_results, trained_stages
from legodnn.builder.graph.run import compose
from legodnn.builder.graph.stored import prepare
from legodnn.builder.managers import AbstractModelManager
from legodnn.builder.profile import recording as recording_module
from legodnn.builder.profile.predictor import fit_predictor
from legodnn.builder.profile.tables import Profile
from legodnn.runtime import Network
from legodnn.shared.bundle.reader import BundleReader
from legodnn.shared.errors import DataError, UsageError
from tests.networks import images, network

INPUT = (1, 3, 8, 8)


def loader(shuffle=False):
    x = images(48)
    labels = network("functional")(x).argmax(1)
    labels[::5] = (labels[::5] + 1) % 4
    return DataLoader(TensorDataset(x, labels), batch_size=16, shuffle=shuffle)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    blocks = AutoBlockManager((0.25, 0.5), network("functional"), CommonModelManager(), INPUT, 0.5, round_to=1)
    blocks.extract_all_blocks(folder / "compressed")
    BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, folder / "compressed", folder / "trained", 1, loader(), seed=0
    ).train_all_blocks()
    return blocks, folder


def load(trained, block, variant):
    blocks, folder = trained
    return blocks.load(trained_stages(blocks, folder / "trained")[variant], block).module


def profiler(trained, test_loader=None, **kwargs):
    blocks, folder = trained
    data = loader() if test_loader is None else test_loader
    return BlockProfiler(
        blocks.teacher, blocks, blocks.model_manager, folder / "trained", data, INPUT, compositions=4, **kwargs
    )


@pytest.fixture(scope="module")
def profile(trained):
    return profiler(trained).profile_all_blocks()


def test_every_variant_is_judged_as_if_run_by_itself(trained, profile):
    blocks, _ = trained
    teacher = compose(blocks.graph, blocks.folded, {})
    x = torch.cat([x for x, _ in loader()])
    with torch.no_grad():
        wanted = teacher(x)
    assert profile.teacher_accuracy == blocks.model_manager.get_model_acc(teacher, loader(), "cpu")
    for block in blocks.block_names:
        for variant in blocks.descendant_names:
            module = load(trained, block, variant)
            alone = compose(blocks.graph, blocks.folded, {block: module})
            accuracy = blocks.model_manager.get_model_acc(alone, loader(), "cpu")
            with torch.no_grad():
                moved = (alone(x) - wanted).square().mean() / wanted.var(correction=0)
            assert profile.accuracy_loss[block][variant] == pytest.approx(profile.teacher_accuracy - accuracy)
            assert profile.distortion[block][variant] == pytest.approx(float(moved), rel=0.05)


def moved(blocks, originals, chosen, data):
    """The squared distance of the outputs from the teacher's, relative to the variance within batches."""
    teacher, network = compose(blocks.graph, originals, {}), compose(blocks.graph, originals, chosen)
    squared = variance = 0.0
    with torch.no_grad():
        for x, _ in data:
            wanted = teacher(x).double()
            squared += float((network(x).double() - wanted).square().sum())
            variance += float(wanted.var(correction=0)) * wanted.numel()
    return squared / variance


def test_costs_are_relative_to_the_variance_within_batches(trained, profile):
    blocks, _ = trained
    block, variant = blocks.block_names[0], blocks.descendant_names[0]
    module = load(trained, block, variant)
    wanted = moved(blocks, blocks.folded, {block: module}, loader())
    assert profile.distortion[block][variant] == pytest.approx(wanted, rel=1e-5)


def test_the_uniform_baseline_is_measured_and_the_predictor_does_not_see_it(trained, profile):
    blocks, _ = trained
    assert [set(row["selection"].values()) for row in profile.uniform] == [{v} for v in blocks.descendant_names]
    for row in profile.uniform:
        modules = {b: load(trained, b, v) for b, v in row["selection"].items()}
        whole = compose(blocks.graph, blocks.folded, modules)
        assert row["accuracy"] == blocks.model_manager.get_model_acc(whole, loader(), "cpu")
    losses = [(row["distortion"], profile.teacher_accuracy - row["accuracy"]) for row in profile.compositions]
    fitted = fit_predictor(profile.teacher_accuracy, losses, profile.chance_accuracy)
    assert profile.predictor == replace(fitted, judged=48)


def test_the_teacher_s_figures_by_class_and_the_number_of_inputs_are_in_the_profile_and_the_bundle(
    trained, profile, tmp_path
):
    blocks, folder = trained
    found = profile.judgement
    teacher = compose(blocks.graph, blocks.folded, {})
    assert found == blocks.model_manager.get_model_judgement(teacher, loader(), "cpu")
    assert found.figures["top-1 accuracy"] == profile.teacher_accuracy
    assert found.chance["top-1 accuracy"] == profile.chance_accuracy
    assert sum(map(sum, found.confusion)) == sum(part.count for part in found.parts) == 48
    assert Profile.from_plain(json.loads(json.dumps(profile.to_plain()))).judgement == found
    pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader())
    with BundleReader(tmp_path / "x.lgb") as reader:
        assert reader.manifest.predictor.judged == 48


def test_an_answer_without_a_look_at_the_input_is_judged_by_the_application_s_metric(profile):
    labels = torch.cat([y for _, y in loader()])
    assert profile.chance_accuracy == int(torch.bincount(labels).max()) / len(labels)
    assert 0 < profile.chance_accuracy < 1
    assert Profile.from_plain(profile.to_plain()) == profile

    class Lenient(CommonModelManager):
        def get_model_acc(self, model, test_loader, device):
            return min(1.0, super().get_model_acc(model, test_loader, device) + 0.1)

    class Bare(AbstractModelManager):
        def forward_to_gen_mid_data(self, model, batch_data, device):
            return model(batch_data)

        def get_model_acc(self, model, test_loader, device):
            return 1.0

    assert Lenient().get_trivial_acc(loader()) is None
    assert Bare().get_trivial_acc(loader()) is None


def test_memory_for_recorded_activations_is_bounded(trained, profile, monkeypatch, tmp_path):
    held = []
    original = recording_module.Recording.carry

    def watched(self, position):
        original(self, position)
        held.append(self._held())

    monkeypatch.setattr(recording_module.Recording, "carry", watched)
    for limit in (0, 20_000):
        monkeypatch.setattr(recording_module, "RECORDED_BYTES", limit)
        again = profiler(trained, data_name=f"within {limit}").profile_all_blocks()
        assert again.to_plain() == profile.to_plain()
        assert max(held) <= limit
        held.clear()


def test_the_network_is_not_run_from_the_start_for_every_variant(trained, monkeypatch):
    from_the_start = []
    original = recording_module.run_segments

    def counted(graph, modules, values, start=0, stop=None, keep=()):
        if stop is None:
            from_the_start.append(start == 0)
        return original(graph, modules, values, start, stop, keep)

    monkeypatch.setattr(recording_module, "run_segments", counted)
    blocks, _ = trained
    profiler(trained, data_name="counted").profile_all_blocks()
    behind = [b for b in blocks.block_names if blocks.graph.segments[0].name != b]
    replays = 3 * len(blocks.descendant_names) * len(behind)
    assert from_the_start.count(False) == replays > 0


def test_a_test_loader_that_changes_its_order_is_refused(trained):
    class Restless:
        def __init__(self):
            self.passes = 0

        def __iter__(self):
            self.passes += 1
            yield images(8, seed=self.passes), torch.zeros(8, dtype=torch.int64)

    with pytest.raises(DataError, match="order changes"):
        profiler(trained, Restless(), data_name="restless").profile_all_blocks()


def test_a_shuffling_loader_is_made_repeatable(trained):
    profiler(trained, loader(shuffle=True), data_name="shuffled").profile_all_blocks()


def test_a_finished_profile_is_read_back(trained, profile):
    first = profiler(trained).profile_all_blocks()
    assert profiler(trained, []).profile_all_blocks().to_plain() == first.to_plain() == profile.to_plain()


# ---- packing ------------------------------------------------------------------------------------------------------
def test_the_same_work_gives_the_same_bytes(trained, profile, tmp_path):
    blocks, folder = trained
    for name in ("a.lgb", "b.lgb"):
        pack(tmp_path / name, blocks, folder / "trained", profile, loader())
    assert (tmp_path / "a.lgb").read_bytes() == (tmp_path / "b.lgb").read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_runs_on_the_device_is_what_was_trained(trained, profile, tmp_path, monkeypatch, precision):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    blocks, folder = trained
    size = pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader(), BundleOptions(precision=precision))
    assert size == (tmp_path / "x.lgb").stat().st_size
    x = images(5)
    with Network.open(tmp_path / "x.lgb") as opened:
        assert all(result.passed for result in opened.self_test())
        for variant in ["original", *blocks.descendant_names]:
            selection = dict.fromkeys(blocks.block_names, variant)
            modules = dict(blocks.folded)
            if variant != "original":
                modules.update({b: load(trained, b, variant) for b in blocks.block_names})
            opened.select(selection)
            with torch.no_grad():
                wanted = compose(blocks.graph, blocks.folded, modules)(x)
            assert (opened(x) - wanted).norm() / wanted.norm() < (1e-5 if precision == "fp32" else 3e-3)


def test_the_manifest_tells_what_was_measured(trained, profile, tmp_path):
    blocks, folder = trained
    options = BundleOptions(labels=["a", "b", "c", "d"], mean=[0.5] * 3, std=[0.2] * 3, samples=3)
    pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader(), options)
    with BundleReader(tmp_path / "x.lgb") as reader:
        manifest = reader.manifest
    assert [b.name for b in manifest.blocks] == blocks.block_names
    assert manifest.input.labels == ("a", "b", "c", "d")
    assert manifest.input.shape == INPUT
    assert manifest.self_test.input_spec.shape[0] == len(manifest.self_test.labels) == 3
    for block in manifest.blocks:
        for variant in block.variants:
            assert variant.cost == profile.distortion[block.name][variant.name]
            assert variant.weight_bytes == profile.resources[block.name][variant.name].weight_bytes
    assert sum(v.weight_bytes for v in manifest.chosen(manifest.original_selection)) == manifest.teacher_weight_bytes


@pytest.mark.parametrize(("layout", "written"), [(None, "NCHW"), ("NCTHW", "NCTHW")])
def test_the_layout_is_the_usual_one_unless_another_is_given(trained, profile, tmp_path, layout, written):
    blocks, folder = trained
    pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader(), BundleOptions(layout=layout))
    with BundleReader(tmp_path / "x.lgb") as reader:
        assert reader.manifest.input.layout == written


def test_half_precision_makes_a_smaller_bundle(trained, profile, tmp_path):
    blocks, folder = trained
    sizes = [
        pack(tmp_path / p, blocks, folder / "trained", profile, loader(), BundleOptions(precision=p))
        for p in ("fp32", "fp16")
    ]
    assert sizes[1] < sizes[0]


def test_an_unknown_precision_names_the_known(trained, profile, tmp_path):
    blocks, folder = trained
    with pytest.raises(UsageError, match="fp32, fp16"):
        pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader(), BundleOptions(precision="fp8"))
    assert not (tmp_path / "x.lgb").exists()


# ---- samples ------------------------------------------------------------------------------------------------------
MEAN, STD = 0.45, 0.25


def picture_loader(wrong=0, count=48):
    """Normalised pictures of bytes; the first labels are ``wrong``."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 256, (count, 3, 8, 8), generator=generator).float() / 255
    x = (x - MEAN) / STD
    labels = network("functional")(x).argmax(1)
    labels[:wrong] = (labels[:wrong] + 1) % 4
    return DataLoader(TensorDataset(x, labels), batch_size=16)


@pytest.fixture(scope="module")
def pictured(trained):
    return profiler(trained, picture_loader(), data_name="pictures").profile_all_blocks()


def packed(trained, profile, path, data, **options):
    blocks, folder = trained
    options = {"mean": [MEAN] * 3, "std": [STD] * 3, **options}
    pack(path, blocks, folder / "trained", profile, data, BundleOptions(**options), judged_on=data)
    return path


def test_samples_are_pixels_whose_outputs_are_those_of_the_packed_weights(trained, pictured, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = packed(trained, pictured, tmp_path / "x.lgb", picture_loader(), precision="fp16")
    with Network.open(path) as opened:
        test = opened.manifest.self_test
        assert test.pixels is not None
        assert test.input_spec.shape[1:] == (8, 8, 3)
        assert torch.equal(opened.samples()[0][0], next(iter(picture_loader()))[0][: test.count])
        results = opened.self_test()
        assert all(r.passed and r.error < 1e-6 for r in results)
        assert results[0].right == results[0].judged == test.count > 1


def test_samples_and_outputs_weigh_at_most_a_tenth_and_the_bundle_says_how_many_were_left(trained, pictured, tmp_path):
    path = packed(trained, pictured, tmp_path / "x.lgb", picture_loader())
    with BundleReader(path) as reader:
        manifest = reader.manifest
    weights = sum(v.weight_bytes for v in manifest.chosen(manifest.original_selection))
    assert sum(length for _, length, _ in manifest.self_test.blobs()) <= 0.1 * weights
    assert any(f"{manifest.self_test.count} of 8 samples" in note for note in manifest.notes)
    assert not any("tensors" in note for note in manifest.notes)


def test_without_samples_the_bundle_says_that_there_is_nothing_to_compare_with(trained, pictured, tmp_path):
    with BundleReader(packed(trained, pictured, tmp_path / "x.lgb", picture_loader(), samples=0)) as reader:
        assert reader.manifest.self_test.count == len(reader.manifest.self_test.cases) == 0
        assert any("nothing to compare" in note for note in reader.manifest.notes)


def test_labels_that_changed_since_the_profile_stop_the_packing(trained, pictured, tmp_path):
    with pytest.raises(DataError, match=r"72\.92%, but 100\.00% in the profile"):
        packed(trained, pictured, tmp_path / "x.lgb", picture_loader(wrong=13))
    assert not (tmp_path / "x.lgb").exists()


def test_a_std_that_the_loader_does_not_normalise_with_stops_the_packing(trained, pictured, tmp_path):
    with pytest.raises(DataError, match=r"bundle\.mean and bundle\.std"):
        packed(trained, pictured, tmp_path / "x.lgb", picture_loader(), mean=[0.5] * 3, std=[0.5] * 3)
    assert not (tmp_path / "x.lgb").exists()


def test_samples_begin_where_a_device_believes_them(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = picture_loader(wrong=6, count=192)
    found = profiler(trained, data, data_name="a bad beginning").profile_all_blocks()
    with Network.open(packed(trained, found, tmp_path / "x.lgb", data, samples=3)) as opened:
        assert opened.self_test()[0].right > 0
        assert all(result.passed for result in opened.self_test())
        assert len(opened.manifest.self_test.labels) == 3


def test_tensors_that_are_no_pictures_are_packed_as_they_are_and_said_to_be(trained, profile, tmp_path):
    blocks, folder = trained
    pack(tmp_path / "x.lgb", blocks, folder / "trained", profile, loader())
    with BundleReader(tmp_path / "x.lgb") as reader:
        assert reader.manifest.self_test.pixels is None
        assert any("the reading of frames is not tested" in note for note in reader.manifest.notes)


def test_accuracies_are_those_of_the_packed_weights(trained, tmp_path):
    blocks, _ = trained
    data = picture_loader()
    found = profiler(trained, data, data_name="halves", precision="fp16").profile_all_blocks()
    assert found.precision == "fp16"
    halved = {name: prepare(module, "fp16") for name, module in blocks.folded.items()}
    block, variant = blocks.block_names[0], blocks.descendant_names[0]
    module = prepare(load(trained, block, variant), "fp16")
    assert found.distortion[block][variant] == pytest.approx(moved(blocks, halved, {block: module}, data), rel=1e-5)
    packed(trained, found, tmp_path / "x.lgb", picture_loader(), precision="fp16")
    with BundleReader(tmp_path / "x.lgb") as reader:
        assert not any("accuracies were measured" in note for note in reader.manifest.notes)


@pytest.mark.parametrize(("measured", "wanted"), [("fp32", "fp16"), ("fp16", "fp32")])
def test_a_profile_of_another_precision_is_named(trained, pictured, tmp_path, measured, wanted):
    found = replace(pictured, precision=measured)
    with BundleReader(packed(trained, found, tmp_path / "x.lgb", picture_loader(), precision=wanted)) as reader:
        assert f"accuracies were measured with weights in {measured}" in reader.manifest.notes


def test_a_descendant_that_failed_is_left_out_of_the_bundle_and_named(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    blocks, folder = trained
    errors = [r.error for r in read_results(trained_stages(blocks, folder / "trained"))]
    monkeypatch.setattr(results_module, "USELESS", sorted(errors)[len(errors) // 2])
    results = BlockRetrainer(
        blocks.teacher, blocks, blocks.model_manager, folder / "compressed", tmp_path / "trained", 1, loader(), seed=0
    ).train_all_blocks()
    failed = {(r.block, r.variant) for r in results if r.method == "failed"}
    assert 0 < len(failed) < len(results)
    found = BlockProfiler(
        blocks.teacher, blocks, blocks.model_manager, tmp_path / "trained", loader(), INPUT, compositions=4
    ).profile_all_blocks()
    pack(tmp_path / "x.lgb", blocks, tmp_path / "trained", found, loader())
    with Network.open(tmp_path / "x.lgb") as opened:
        there = {(b.name, v.name) for b in opened.blocks for v in b.variants}
        assert there.isdisjoint(failed)
        assert sum("left out, its relative error" in note for note in opened.manifest.notes) == len(failed)
        assert all(result.passed for result in opened.self_test())
