"""What is predicted is what a process grows by; what is not needed is not held; what was held is given back."""

import json
import os
import subprocess
import sys

import pytest

from legodnn.runtime import Network, ScalingOptimizer
from legodnn.runtime.device.memory_table import needed_bytes, weight_bytes
from legodnn.runtime.engine import BACKENDS, Backend
from legodnn.runtime.engine.loading import torch_version
from legodnn.runtime.profiling import memory
from legodnn.runtime.profiling.memory import MemoryEstimator, profile_memory
from legodnn.shared import platform
from legodnn.shared.bundle.manifest import ORIGINAL
from legodnn.shared.errors import InfeasibleBudget
from tests import bundles
from tests.bundles import BLOCKS, WIDTHS
from tests.unit.runtime.device.test_memory_table import TABLE, selections
from tests.unit.runtime.torch_has import skip_without

MIB = 1024**2

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much a process held")


# ---- tables ---------------------------------------------------------------------------------------------------------
def test_choices_are_made_by_what_was_measured(network):
    manifest = network.manifest
    network.memory = TABLE
    optimizer = ScalingOptimizer(network)
    smallest = {f"block{i}": "sparsity=0.75" for i in range(BLOCKS)}
    for selection in selections(5):
        limit = needed_bytes(manifest, selection, TABLE)
        choice = optimizer.choose(None, limit)
        assert choice.within_budget
        assert choice.memory_bytes == needed_bytes(manifest, choice.selection, TABLE) <= limit
    with pytest.raises(InfeasibleBudget) as refusal:
        optimizer.choose(None, 1)
    assert refusal.value.minimum_bytes == needed_bytes(manifest, smallest, TABLE)


def test_a_share_of_the_teachers_weights_means_the_tables(network):
    network.memory = TABLE
    choice = ScalingOptimizer(network, count_activations=False).choose(None, network.manifest.teacher_weight_bytes)
    assert choice.memory_bytes == weight_bytes(network.manifest, choice.selection)


# ---- measuring ------------------------------------------------------------------------------------------------------
@on_linux
def test_predictions_are_the_memory_of_a_process(network, path, monkeypatch):
    table = MemoryEstimator(network).profile_all_blocks()
    assert network.memory == table
    (selection,) = selections(1, seed=7)
    profile = profile_memory(path, network._workshop.composer.backend, selection, network.batch)
    predicted = needed_bytes(network.manifest, selection, table)
    assert abs(predicted - profile.peak) <= max(2 * MIB, 0.1 * profile.peak)
    assert profile.resident <= profile.peak

    monkeypatch.setattr(memory, "profile_memory", None)  # from here on it must be remembered
    with Network.open(path) as again:
        assert MemoryEstimator(again).profile_all_blocks() == table


def test_where_it_cannot_be_measured_the_bundles_tables_hold(network, monkeypatch):
    monkeypatch.setattr(memory, "profile_memory", lambda *_: None)
    assert MemoryEstimator(network).profile_all_blocks() is None
    assert network.memory is None
    assert network.cache.get("memory") is None


@on_linux
def test_a_process_that_fails_is_no_measurement(tmp_path):
    assert profile_memory(tmp_path / "missing.lgb", BACKENDS[0], {}, 1) is None


@on_linux
def test_reading_pictures_counts_for_no_selection(path, tmp_path):
    bundles.write(tmp_path / "pixels.lgb", pixels=True)
    found = [profile_memory(p, BACKENDS[0], bundles.selections()[0], 1) for p in (path, tmp_path / "pixels.lgb")]
    assert abs(found[0].resident - found[1].resident) < 0.4 * MIB  # without care 0.9 MiB


# ---- holding and giving back ----------------------------------------------------------------------------------------
@on_linux
def test_pages_of_the_bundle_do_not_stay_in_memory(network, path):
    network.compose(network.manifest.original_selection)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        assert str(path) not in maps.read()


_SWITCH = """
import gc, json, sys
import psutil
from legodnn.runtime import Network
from legodnn.runtime.engine import Backend
from legodnn.runtime.engine.composer import Composer
from legodnn.runtime.engine.small import touch
from legodnn.shared.platform import trim_heap

network, backend = Network.open(sys.argv[1], cache=False), Backend.from_text(sys.argv[2])
network._workshop.composer = Composer(network.reader, network.sample_inputs())
network._workshop.composer.backend, network.keep_within = backend, 0.0
x, held, process = network.sample_inputs(), [], psutil.Process()

def hold(variant):
    network.select({block.name: variant for block in network.blocks})
    for _ in range(3):
        network(*x)
    gc.collect(), trim_heap()
    held.append(process.memory_info().rss)

for variant in ["sparsity=0.75", "original", "sparsity=0.75", "original", "sparsity=0.75"]:
    hold(variant)
for _ in range(int(sys.argv[3])):
    network._workshop.composer.compose(network.selection)
gc.collect(), trim_heap()
print(json.dumps([*held, process.memory_info().rss]))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A bundle with 27 MiB of weights that can go."""
    path, widths = tmp_path_factory.mktemp("large") / "large.lgb", {ORIGINAL: 16384, "sparsity=0.75": 32}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundles, "WIDTHS", {**WIDTHS, **widths})
        bundles.write(path)
    return path


def said_by(script, *arguments, tmp_path):
    """What a process of its own prints, which runs a script with one thread and a cache of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def is_on_disk(folder):
    with open(folder / "file", "wb") as file:
        return platform.on_disk(file.fileno())


@on_linux
@pytest.mark.parametrize(
    "backend", [b for b in BACKENDS if b.layout == "channels_last" and b.engine != "optimized"], ids=str
)
def test_switching_to_less_gives_memory_back_and_weights_are_there_once(large, network, backend, tmp_path):
    skip_without(network, backend)
    # The first time there and back, code for these shapes of operators is made, and kept.
    _, _, small, big, after, _ = said_by(_SWITCH, large, backend, 0, tmp_path=tmp_path)
    weights = 2 * 4 * 9 * 8 * 16384 * BLOCKS
    # torch 1 holds a second copy of weights that are in channels last, whatever runs them.
    once = torch_version() >= (2, 0) and (backend.engine != "compiled" or is_on_disk(tmp_path))
    most = 1.7 if once else 2.7
    assert 0.9 * weights < big - small < most * weights
    assert after - small < 0.05 * weights


@on_linux
def test_compositions_that_are_gone_leave_nothing(path, tmp_path, network):
    backend = Backend("contiguous", "compiled")
    skip_without(network, backend)
    *_, before, after = said_by(_SWITCH, path, backend, 20, tmp_path=tmp_path)
    assert after - before < 4 * MIB


_BETWEEN = """
import json, sys
import psutil
from legodnn.runtime import Network
from legodnn.runtime.engine import Backend
from legodnn.runtime.engine.composer import Composer
from legodnn.shared.platform import trim_heap

network, process, freed = Network.open(sys.argv[1], cache=False), psutil.Process(), []
composer = Composer(network.reader, network.sample_inputs())

def between():
    before = process.memory_info().rss
    trim_heap()
    freed.append(before - process.memory_info().rss)

composer.compose(network.manifest.original_selection, Backend("contiguous", "plain"), between)
print(json.dumps(freed))
"""


@on_linux
def test_what_loading_a_segment_took_for_a_moment_is_given_back_before_the_next(large, tmp_path):
    freed = said_by(_BETWEEN, large, tmp_path=tmp_path)
    assert len(freed) == BLOCKS + 2
    assert max(freed) < MIB
