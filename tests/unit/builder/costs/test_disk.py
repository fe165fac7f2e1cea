"""A disk that is too full is told before anything is made."""

import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

from legodnn.builder.__main__ import main
from legodnn.builder.costs.disk import needs_of
from tests.unit.builder.costs.test_estimate import recipe  # noqa: F401

Usage = namedtuple("Usage", "total used free")


def test_what_is_needed_grows_with_what_is_trained_and_the_bundle_with_all_there_is():
    one, both = {"a": 500}, {"a": 500, "b": 300}
    small, large = needs_of(1000, one, 0, "fp32", False), needs_of(1000, both, 0, "fp32", False)
    assert large.work - small.work == 300 * 7
    assert large.bundle - small.bundle == 330
    assert needs_of(1000, both, 0, "fp32", False, {"a"}) == replace(large, work=small.work)
    assert needs_of(1000, one, 0, "fp32", True).work - small.work == 7000
    half, program = needs_of(1000, one, 0, "fp16", False), needs_of(0, {"a": 0}, 0, "fp16", False).bundle
    assert half.bundle - program == (small.bundle - program) // 2
    assert needs_of(1000, one, 3, "fp32", False).bundle - small.bundle == 6 * program


@pytest.mark.parametrize("trained", [True, False])
def test_a_full_disk_is_refused_before_anything_is_made(folder, recipe, capsys, monkeypatch, trained):  # noqa: F811
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 10**6, 10**6))
    given = [str(recipe if trained else folder.recipe), "-o", str(folder.path / "o.lgb")]
    assert main(given) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "are needed on this disk, and 977 KiB are free; " in line
    assert line.endswith("delete something there, or name another one with --work and -o")
    assert not (folder.path / "o.lgb").exists()
    assert [p.name for p in folder.path.glob("o.lgb.work/*") if p.is_dir()] == []


def test_what_is_there_already_is_not_needed_again(folder, monkeypatch):
    given = [str(folder.recipe), "-o", str(folder.path / "o.lgb"), "--no-timing"]
    assert main(given) == 0
    free = 17 << 20  # for the rest and the bundle, not for training
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free))
    assert main(given) == 0


def test_the_bundle_needs_space_for_what_is_not_trained_again(folder, capsys, monkeypatch):
    given = [str(folder.recipe), "-o", str(folder.path / "o.lgb"), "--no-timing"]
    assert main(given) == 0
    size, free = (folder.path / "o.lgb").stat().st_size, 16 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free + size // 2))
    assert main(given) == 2
    assert "are needed on this disk" in capsys.readouterr().err
