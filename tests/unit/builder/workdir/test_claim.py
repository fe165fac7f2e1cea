"""A directory is one process's at a time; a claim whose process is gone is stale."""

import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from legodnn.builder.workdir.claim import LOCK, Claim
from legodnn.shared.errors import WorkError
from legodnn.shared.host import process_started


def lock(folder, **changes):
    owner = {"host": platform.node(), "process": os.getpid(), "started": process_started(os.getpid()), **changes}
    (folder / LOCK).write_text(json.dumps(owner))


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_claim_names_host_process_and_start_and_ends(tmp_path):
    with Claim(tmp_path):
        owner = json.loads((tmp_path / LOCK).read_text())
        assert owner["host"] == platform.node()
        assert owner["process"] == os.getpid()
        assert owner["started"] == pytest.approx(process_started(os.getpid()))
    assert not list(tmp_path.iterdir())


def test_a_second_claim_is_refused_and_names_the_first(tmp_path):
    with Claim(tmp_path), pytest.raises(WorkError, match=rf"in use since .* by process {os.getpid()}; wait for it"):
        Claim(tmp_path).__enter__()
    with Claim(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_a_claim_ends_with_an_exception_too(tmp_path):
    with pytest.raises(ZeroDivisionError), Claim(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("stale", ["process", "start", "empty", "damaged"])
def test_a_stale_claim_is_replaced(tmp_path, stale):
    if stale == "process":
        lock(tmp_path, process=ended_process())
    elif stale == "start":
        lock(tmp_path, started=process_started(os.getpid()) - 1000)
    else:
        (tmp_path / LOCK).write_text("" if stale == "empty" else '{"host": 1')
    with Claim(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_claim_of_another_machine_is_never_stale(tmp_path):
    lock(tmp_path, host="elsewhere", process=ended_process())
    with pytest.raises(WorkError, match=r"on elsewhere \(if it is gone, remove lock.json there\)"):
        Claim(tmp_path).__enter__()


def test_of_many_that_want_a_stale_claim_one_gets_it(tmp_path):
    lock(tmp_path, process=ended_process())
    start, done = threading.Barrier(8), threading.Barrier(8)
    got = []

    def want():
        start.wait(10)
        try:
            with Claim(tmp_path):
                got.append(True)
                done.wait(10)
        except WorkError:
            done.wait(10)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True]
