"""Variants that do not work on this device are found, excluded and reported, and the choice is made without them."""

import itertools
import logging

import pytest
import torch

from legodnn.runtime import Duty, JointOptimizer, LatencyTable, Network, ScalingOptimizer
from legodnn.runtime.engine import loading, relative_error
from legodnn.shared.bundle.writer import write_bundle
from legodnn.shared.errors import CompositionError, UnusableVariant
from tests.bundles import BLOCKS, WIDTHS, BundleMaker

NAN = float("nan")


def broken(tmp_path, *faults):
    """A bundle in which variants add something to what they give, and its eager modules."""
    maker = BundleMaker()
    for block, variant, number in faults:
        maker.modules[block][variant].b.bias.data[0] = number
    write_bundle(tmp_path / "broken.lgb", maker.manifest(), maker.blobs)
    return maker, tmp_path / "broken.lgb"


def only(network, **changes):
    return {**network.manifest.original_selection, **changes}


@pytest.mark.parametrize(
    "selection", [{"block1": "sparsity=0.5"}, {"block1": "sparsity=0.5", "block2": "sparsity=0.5"}]
)
def test_the_variant_at_fault_is_found_reported_and_excluded(tmp_path, caplog, selection):
    maker, path = broken(tmp_path, ("block1", "sparsity=0.5", NAN))
    with Network.open(path) as network:
        x = torch.randn(1, 3, 16, 16)
        network(x)
        with pytest.raises(UnusableVariant, match=r"block1 sparsity=0.5 does not work .* not finite") as caught:
            network.select(only(network, **selection))
        assert (caught.value.block, caught.value.variant) == ("block1", "sparsity=0.5")
        assert list(network.excluded) == [("block1", "sparsity=0.5")]
        assert network.usable_variants("block1") == ("original", "sparsity=0.75")
        assert "block1 sparsity=0.5 does not work" in caplog.text
        assert network.selection == network.manifest.original_selection
        assert relative_error(network(x), maker.answer({}, x)) < 1e-4
        with pytest.raises(UnusableVariant):
            network.compose(only(network, block1="sparsity=0.5", block0="sparsity=0.75"))


def test_a_sound_original_is_not_blamed_for_what_comes_in(tmp_path):
    """Numbers so large that the next block's convolution overflows: it is what came before that is wrong."""
    _, path = broken(tmp_path, ("block0", "sparsity=0.75", 1e38))
    with Network.open(path) as network:
        with pytest.raises(UnusableVariant):
            network.select(only(network, block0="sparsity=0.75"))
        assert list(network.excluded) == [("block0", "sparsity=0.75")]


def test_an_original_that_does_not_work_is_replaced_by_a_sibling(tmp_path):
    maker, path = broken(tmp_path, ("block2", "original", NAN))
    with Network.open(path) as network:
        x = torch.randn(1, 3, 16, 16)
        expected = only(network, block2="sparsity=0.5")
        assert relative_error(network(x), maker.answer(expected, x)) < 1e-4
        assert network.selection == network.first_selection == expected
        with pytest.raises(UnusableVariant):
            network.select(only(network, block1="sparsity=0.5"))
        assert list(network.excluded) == [("block2", "original")]
        assert ScalingOptimizer(network).update_model().selection == expected


def test_where_nothing_is_left_the_error_names_the_block(tmp_path):
    _, path = broken(tmp_path, *(("block1", name, NAN) for name in WIDTHS))
    with Network.open(path) as network:
        with pytest.raises(CompositionError, match=r"no variant of block1 works on this device: .*sparsity=0.75"):
            network(torch.randn(1, 3, 16, 16))
        with pytest.raises(CompositionError, match="no variant of block1"):
            ScalingOptimizer(network).choose()


def test_the_optimiser_chooses_again_without_it(tmp_path):
    maker, path = broken(tmp_path, ("block1", "sparsity=0.75", NAN), ("block0", "sparsity=0.75", NAN))
    with Network.open(path) as network:
        optimizer, x = ScalingOptimizer(network), torch.randn(1, 3, 16, 16)
        choice = optimizer.update_model(accuracy=0.1, minimise="memory")
        expected = {"block0": "sparsity=0.5", "block1": "sparsity=0.5", "block2": "sparsity=0.75"}
        assert choice.selection == network.selection == expected
        assert len(network.excluded) == 2
        assert relative_error(network(x), maker.answer(expected, x)) < 1e-4
        others = [c.selection for c in optimizer.frontier()]
        assert not any("sparsity=0.75" in (s["block0"], s["block1"]) for s in others)


def test_so_it_does_in_the_background(tmp_path, caplog):
    _, path = broken(tmp_path, ("block1", "sparsity=0.75", NAN))
    with Network.open(path) as network:
        network.select(network.first_selection)
        first = ScalingOptimizer(network).update_model(accuracy=0.1, minimise="memory", wait=False)
        assert first.selection["block1"] == "sparsity=0.75"
        assert network.switching.result(timeout=60).selection["block1"] == "sparsity=0.5"
        assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("wait", [True, False])
def test_so_it_does_for_several_networks(tmp_path, wait):
    _, path = broken(tmp_path, ("block1", "sparsity=0.75", NAN))
    rows = {f"block{i}": {name: 1e-3 * width for name, width in WIDTHS.items()} for i in range(BLOCKS)}
    with Network.open(path) as one, Network.open(path) as other:
        for network in (one, other):
            network.latency = LatencyTable(0.0, rows, 0.0, 0.0, 0.0, 0.0, 1)
        optimizer = JointOptimizer([Duty(one, 0.1, accuracy=0.1), Duty(other, 0.1, accuracy=0.1)])
        choice = optimizer.update_models(minimise="memory", wait=wait)
        if not wait:
            choice = optimizer.switching.result(timeout=60)
        expected = {"block0": "sparsity=0.75", "block1": "sparsity=0.5", "block2": "sparsity=0.75"}
        assert [c.selection for c in choice.choices] == [one.selection, other.selection] == [expected] * 2


class Fails(loading.Part):
    def __call__(self, *inputs):
        raise RuntimeError("no primitive")


def test_a_program_that_fails_here_is_a_fault_too(tmp_path, monkeypatch):
    _, path = broken(tmp_path)
    with Network.open(path) as network:
        network.select(network.first_selection)
        load = loading.SegmentLoader.load

        def fails_for_one(self, segment, variant, inputs):
            part = load(self, segment, variant, inputs)
            return Fails(part.graph) if (segment.name, variant.name) == ("block2", "sparsity=0.5") else part

        monkeypatch.setattr(loading.SegmentLoader, "load", fails_for_one)
        for block1 in ("sparsity=0.5", "original"):
            with pytest.raises(UnusableVariant, match=r"block2 sparsity=0.5 does not .* fails: no primitive"):
                network.select(only(network, block1=block1, block2="sparsity=0.5"))
        assert list(network.excluded) == [("block2", "sparsity=0.5")]


def test_what_is_wrong_elsewhere_excludes_nothing(tmp_path):
    """Sound variants whose composition is off, for whatever reason, are not blamed."""
    _, path = broken(tmp_path)
    with Network.open(path) as network, pytest.MonkeyPatch.context() as patch:
        network.select(network.first_selection)
        patch.setattr("legodnn.runtime.engine.compare.relative_error", lambda found, expected: 1.0)
        for names in itertools.islice(itertools.product(WIDTHS, repeat=BLOCKS), 1, 4):
            with pytest.raises(CompositionError, match="off by"):
                network.select({f"block{i}": name for i, name in enumerate(names)})
        assert network.excluded == {}


def test_frontiers_that_are_remembered_are_made_again_without_it(path):
    rows = {f"block{i}": {name: 1e-3 * width for name, width in WIDTHS.items()} for i in range(BLOCKS)}
    with Network.open(path) as one, Network.open(path) as other:
        for network in (one, other):
            network.latency = LatencyTable(0.0, rows, 0.0, 0.0, 0.0, 0.0, 1)
        optimizer = JointOptimizer([Duty(one, 0.1), Duty(other, 0.1)])
        budget = 1.25 * optimizer.minimum_bytes()
        usual = [c.selection for c in optimizer.choose(budget).choices]
        block, variant = next((b, v) for b, v in usual[0].items() if v != "original")
        one.excluded[block, variant] = "for a test"
        chosen = [c.selection for c in optimizer.choose(budget).choices]
        assert chosen[0][block] != variant
        one.excluded.clear()
        assert [c.selection for c in optimizer.choose(budget).choices] == usual
