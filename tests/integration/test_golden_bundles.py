"""Bundles of every format there has been still open, answer as they did, and come within a budget."""

import pytest
import torch

from legodnn.runtime import Network, ScalingOptimizer
from legodnn.runtime.device.memory_table import needed_bytes
from legodnn.runtime.engine import tensors
from legodnn.shared.bundle.format import MAJOR, MINOR
from legodnn.shared.tasks.known import task_named
from tests import smallest_bundle
from tests.golden_bundles import APPLICATIONS, FOLDER

GOLDEN = sorted(FOLDER.glob("*/*.lgb"))

OUTPUTS = {
    "image-classification": [((1, 10), torch.float32)],
    "semantic-segmentation": [((1, 6, 96, 96), torch.float32)],
    "object-detection": [((1, 20, 4), torch.float32), ((1, 20), torch.float32), ((1, 20), torch.int64)],
    "pose-estimation": [((1, 5, 3), torch.float32)],
    "action-recognition": [((1, 9), torch.float32)],
    "anomaly-detection": [((1, 1), torch.float32)],
}
"""Shapes and types of the outputs for one input."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def identity(path):
    return f"{path.parent.name}-{path.stem}"


def test_there_is_one_of_every_application_in_every_format_up_to_todays():
    folders = [path for path in FOLDER.iterdir() if path.is_dir()]
    formats = {folder.name: sorted(path.stem for path in folder.glob("*.lgb")) for folder in folders}
    assert formats == {f"{MAJOR}.{minor}": sorted(APPLICATIONS) for minor in range(MINOR + 1)}


@pytest.mark.parametrize("path", GOLDEN, ids=identity)
def test_a_golden_bundle_passes_its_self_test_and_gives_its_applications_kind_of_output(path):
    with Network.open(path) as network:
        network.reader.verify()
        results = network.self_test()
        assert len(results) > 1
        assert all(result.passed for result in results)
        assert task_named(network.manifest.task) is not None
        answer = tensors(network(network.sample_inputs()[0][:1]))
        assert [(tuple(x.shape), x.dtype) for x in answer] == OUTPUTS[path.stem]


def test_the_smallest_bundle_of_the_specification_computes():
    with Network.open(smallest_bundle.PATH) as network:
        assert [result.error for result in network.self_test()] == [0.0]
        assert network(torch.tensor([smallest_bundle.INPUTS])).tolist() == [[3.0, 8.0]]


@pytest.mark.parametrize("path", GOLDEN, ids=identity)
def test_a_golden_bundle_is_switched_by_a_budget_of_memory(path):
    with Network.open(path) as network:
        smallest = {b.name: min(b.variants, key=lambda v: v.weight_bytes).name for b in network.blocks}
        budget = needed_bytes(network.manifest, smallest)
        choice = ScalingOptimizer(network).update_model(None, budget)
        assert network.selection == choice.selection != network.manifest.original_selection
        assert choice.memory_bytes <= budget
        assert all(bool(x.isfinite().all()) for x in tensors(network(*network.sample_inputs())))
