"""Weights lie on disk where there is room for them, and come back when they are read."""

import sys

import pytest
import torch

from legodnn.runtime.engine import paged, relative_error
from legodnn.runtime.engine.joining import function_of, quiet
from legodnn.shared import platform

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets pages go")


def graph():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(8, 64, 9), torch.nn.Conv2d(64, 8, 1)).eval()
    model, x = model.to(memory_format=torch.channels_last), torch.randn(1, 8, 12, 12)
    with quiet():
        made = torch.jit.freeze(torch.jit.trace(model, x, check_trace=False)).graph.copy()
        made.eraseInput(0)
        return made, x, model(x)


@on_linux
def test_weights_come_back_from_disk_when_they_are_read(monkeypatch):
    monkeypatch.setattr(platform, "on_disk", lambda descriptor: True)
    made, x, expected = graph()
    pages = paged.paged(made)
    for _ in range(2):
        pages.rest()
        with torch.no_grad():
            assert relative_error(function_of(made.copy())(x), expected) < 1e-5


@pytest.mark.parametrize("trouble", ["no disk", "full", "read-only"])
def test_without_space_on_disk_weights_stay_in_memory(monkeypatch, tmp_path, trouble):
    def refuse(*_):
        raise OSError("there is no room")

    monkeypatch.setattr(platform, "on_disk", lambda descriptor: trouble != "no disk")
    if trouble == "full":
        monkeypatch.setattr(platform, "reserve", refuse)
    if trouble == "read-only":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    made, x, expected = graph()
    assert paged.paged(made) is None
    with torch.no_grad():
        assert relative_error(function_of(made)(x), expected) < 1e-5
