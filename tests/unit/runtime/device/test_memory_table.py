"""What was measured of some selections says what others need."""

import json
import random

import pytest

from legodnn.runtime.device.memory_table import (
    MemoryTable,
    activation_bytes,
    fit_memory_table,
    needed_bytes,
    needed_together,
    read_memory_table,
    weight_bytes,
)
from tests.bundles import BLOCKS, WIDTHS

MIB = 1024**2
TABLE = MemoryTable("contiguous compiled", 5_000, 1.75, 1.0, 0.01, 0.02, 4)


def selections(count, seed=0):
    choose = random.Random(seed)
    return [{f"block{i}": choose.choice(list(WIDTHS)) for i in range(BLOCKS)} for _ in range(count)]


# ---- tables ---------------------------------------------------------------------------------------------------------
def test_a_line_through_what_was_measured_is_found(network):
    manifest, chosen = network.manifest, selections(6)
    sizes = [3 * MIB + round(1.5 * weight_bytes(manifest, s)) + activation_bytes(manifest, s) for s in chosen]
    table = fit_memory_table(manifest, "contiguous plain", chosen, sizes, apart=False)
    assert (table.own, table.compositions) == (0.0, 6)
    assert table.worst_error < 1e-3
    for selection in selections(20, seed=1):
        size = weight_bytes(manifest, selection)
        assert needed_bytes(manifest, selection, table) == pytest.approx(
            3 * MIB + 1.5 * size + activation_bytes(manifest, selection), rel=1e-3
        )


def test_one_measurement_is_enough_for_a_table(network):
    manifest, (selection,) = network.manifest, selections(1)
    table = fit_memory_table(manifest, "contiguous compiled", [selection], [4 * MIB], apart=True)
    assert (table.factor, table.own) == (1.0, 1.0)
    assert needed_bytes(manifest, selection, table) == 4 * MIB


def test_errors_are_those_of_selections_left_out(network):
    manifest, chosen = network.manifest, selections(5)
    sizes = [5 * MIB + weight_bytes(manifest, s) for s in chosen]
    sizes[2] += MIB
    table = fit_memory_table(manifest, "contiguous plain", chosen, sizes, apart=False)
    assert table.worst_error == pytest.approx(MIB / sizes[2], rel=0.2)
    assert table.median_error < table.worst_error


def test_tables_come_back_for_their_backend_and_nothing_else_does():
    assert read_memory_table(json.loads(json.dumps(TABLE.to_plain())), TABLE.way) == TABLE
    assert read_memory_table(TABLE.to_plain(), "contiguous plain") is None
    for wrong in (None, 5, {}, {**TABLE.to_plain(), "factor": "2"}, {**TABLE.to_plain(), "own": 3.0}):
        assert read_memory_table(wrong, TABLE.way) is None


# ---- sums -----------------------------------------------------------------------------------------------------------
def test_what_compositions_share_counts_once_and_what_they_do_not_every_time(network):
    manifest, (one,) = network.manifest, selections(1)
    other = {**one, "block1": next(name for name in WIDTHS if name != one["block1"])}
    more = manifest.segment("block1").variant(other["block1"]).weight_bytes
    together = needed_together(manifest, [one, other], TABLE) - needed_bytes(manifest, one, TABLE)
    assert together == pytest.approx(
        TABLE.base + TABLE.own * weight_bytes(manifest, other) + (TABLE.factor - TABLE.own) * more, abs=10
    )
    assert needed_together(manifest, [one, one]) == needed_bytes(manifest, one)
