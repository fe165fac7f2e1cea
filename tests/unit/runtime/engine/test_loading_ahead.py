"""Variants whose weights lie on disk stay loaded: switching to them reads nothing and takes less time."""

import os
import sys
import threading

import pytest
import torch

from legodnn.runtime import Network
from legodnn.runtime.engine import Backend, relative_error
from legodnn.shared.errors import BundleError
from tests.bundles import selections
from tests.unit.runtime.torch_has import skip_without

BACKEND = Backend("contiguous", "compiled")


@pytest.fixture
def compiled(path):
    with Network.open(path) as network:
        skip_without(network, BACKEND)
        network._workshop.ready_composer().backend = BACKEND
        network.select(network.manifest.original_selection)
        yield network


def load_all(network):
    count = 0
    while network.load_ahead():
        count += 1
        assert count < 100
    return count


def unreadable(archive):
    raise BundleError("nothing can be read any more")


def test_once_all_variants_are_loaded_nothing_is_read(compiled, maker, monkeypatch):
    assert load_all(compiled) > 0
    monkeypatch.setattr(compiled.reader, "program", unreadable)
    x = torch.randn(2, 3, 16, 16)
    for selection in selections()[::3]:
        compiled.release_kept()
        compiled.select(selection)
        assert relative_error(compiled(x), maker.answer(selection, x)) < 1e-4


def test_variants_that_were_in_a_composition_stay_loaded(compiled, maker, monkeypatch):
    for selection in (selections()[-1], selections()[0]):
        compiled.select(selection)
    compiled.release_kept()
    monkeypatch.setattr(compiled.reader, "program", unreadable)
    compiled.select(selections()[-1])
    x = torch.randn(2, 3, 16, 16)
    assert relative_error(compiled(x), maker.answer(selections()[-1], x)) < 1e-4


def test_nothing_stays_loaded_where_nothing_is_to_be_kept(compiled, monkeypatch):
    compiled.keep_within = 0.0
    assert compiled.ready_bytes == 0
    assert not compiled.load_ahead()
    compiled.select(selections()[-1])
    compiled.select(selections()[0])
    assert compiled.ready_bytes == 0
    monkeypatch.setattr(compiled.reader, "program", unreadable)
    with pytest.raises(BundleError, match="nothing can be read"):
        compiled.select(selections()[-1])


def test_what_stays_is_within_its_limit(compiled):
    load_all(compiled)
    most = compiled.ready_bytes
    assert most > 0
    compiled._workshop.composer.keep_loaded(most / 2)
    assert 0 < compiled.ready_bytes <= most / 2


def test_backends_with_weights_in_memory_keep_no_variant(path):
    with Network.open(path) as network:
        network._workshop.ready_composer().backend = Backend("contiguous", "plain")
        network.select(selections()[0])
        assert not network.load_ahead()
        assert network.ready_bytes == 0


def test_nothing_is_loaded_ahead_while_a_composition_is_made(compiled):
    held, done = threading.Event(), threading.Event()

    def hold():
        with compiled._workshop._composing:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    before = compiled.ready_bytes
    assert compiled.load_ahead()  # there is more, later
    assert compiled.ready_bytes == before
    done.set()
    thread.join()
    assert load_all(compiled) > 0


def test_what_cannot_be_loaded_is_said_and_the_rest_is_loaded(compiled, monkeypatch, caplog):
    calls, program = [], compiled.reader.program

    def once(archive):
        calls.append(archive)
        return unreadable(archive) if len(calls) == 1 else program(archive)

    monkeypatch.setattr(compiled.reader, "program", once)
    caplog.set_level("INFO", logger="legodnn.network")
    load_all(compiled)
    assert len(calls) > 2
    assert "not loaded ahead: nothing can be read any more" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process has open")
def test_loaded_variants_keep_no_file_open(compiled):
    before = len(os.listdir("/proc/self/fd"))
    assert load_all(compiled) > 0
    assert len(os.listdir("/proc/self/fd")) == before
