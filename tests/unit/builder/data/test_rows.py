"""Examples are taken out of batches of any structure."""

from typing import NamedTuple

import pytest
import torch

from legodnn.builder.data.rows import checksums, count_rows, rows_of
from legodnn.shared.errors import DataError


class Pair(NamedTuple):
    x: torch.Tensor
    y: list


X = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(("batch", "wanted"), [
    (X, X[[0, 2]]), ((X, torch.tensor([5, 6, 7])), (X[[0, 2]], torch.tensor([5, 7]))),
    ([X, ["a", "b", "c"]], [X[[0, 2]], ["a", "c"]]), ({"x": X, "scale": 2.0}, {"x": X[[0, 2]], "scale": 2.0}),
    (Pair(X, [{"box": 1}, {"box": 2}, {"box": 3}]), Pair(X[[0, 2]], [{"box": 1}, {"box": 3}])),
    ((X, torch.tensor(1.0), "name"), (X[[0, 2]], torch.tensor(1.0), "name")),
    (((X, X + 1, X + 2), torch.arange(3)), ((X[[0, 2]], X[[0, 2]] + 1, X[[0, 2]] + 2), torch.tensor([0, 2]))),
])  # fmt: skip
def test_some_rows_of_a_batch_have_its_structure(batch, wanted):
    assert count_rows(batch) == 3
    found = rows_of(batch, [0, 2])
    assert type(found) is type(batch)
    assert str(found) == str(wanted)


def test_checksums_tell_inputs_apart_and_do_not_look_at_labels():
    first, second = checksums((X, torch.zeros(3))), checksums((X.flip(0), torch.ones(3)))
    assert len(set(first)) == 3
    assert first == second[::-1]


@pytest.mark.parametrize("batch", ["text", [], {"a": 1}, (torch.tensor(1.0),)])
def test_a_batch_without_examples_is_refused(batch):
    with pytest.raises(DataError, match=r"name data\.validation"):
        count_rows(batch)
