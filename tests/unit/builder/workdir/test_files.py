"""Files of tensors: what is written is what is read, and nothing is said about it."""

import warnings

import pytest
import torch

from legodnn.builder.workdir.files import load_tensors, save_tensors
from legodnn.shared.errors import WorkError


def test_tensors_and_plain_values_come_back_without_a_word(tmp_path):
    content = {"weights": torch.arange(3), "epoch": 2, "names": ["a", "b"]}
    save_tensors(tmp_path / "new" / "state.pt", content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the settings of the tests let pass what torch warns of
        found = load_tensors(tmp_path / "new" / "state.pt")
    assert torch.equal(found.pop("weights"), content.pop("weights"))
    assert found == content


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(WorkError, match=r"state\.pt: missing or damaged"):
        load_tensors(tmp_path / "state.pt")
