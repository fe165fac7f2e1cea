"""A small bundle, and a cache of its own for every test."""

from importlib.util import find_spec

import pytest

from legodnn.runtime import Network
from tests import bundles
from tests.unit.runtime.commands import memory_by_tables

collect_ignore = [] if find_spec("torchvision") else ["command/render/test_option.py"]
"""Its bundles are made by the builder, which needs torchvision."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def common_cache(own_cache, tmp_path_factory, path, monkeypatch):
    """One cache for all tests that ask for it, as a user has one: a network is measured once."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    if not folder.exists():
        memory_by_tables(path)


@pytest.fixture(scope="session")
def maker_and_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small.lgb"
    return bundles.write(path), path


@pytest.fixture
def maker(maker_and_path):
    return maker_and_path[0]


@pytest.fixture
def path(maker_and_path):
    return maker_and_path[1]


@pytest.fixture
def network(path):
    with Network.open(path) as opened:
        yield opened
