"""A child process that is forked after networks ran either works or gets one clear error; it never hangs."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")

_SCRIPT = """
import os, sys, threading, torch
from legodnn.runtime import Network
from legodnn.shared.errors import ForkError

path, threads, parent, child = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(threads)
x = torch.randn(8, 3, 16, 16)
network = None
if parent != "imports":
    network = Network.open(path, cache=False)
    network(x)
    torch.randn(500, 500) @ torch.randn(500, 500)
if parent == "switches":
    begun, go_on = threading.Event(), threading.Event()
    compose = network._switcher._compose
    network._switcher._compose = lambda s: (begun.set(), go_on.wait(60), compose(s))[2]
    smallest = {b.name: "sparsity=0.75" for b in network.blocks}
    future = network.select_later(smallest)
    begun.wait(60)

def work():
    if child == "inherited":
        return network(x)
    if child == "switch":
        return network.select_later({b.name: "original" for b in network.blocks}).result()
    if child == "close":
        return network.close()
    if child == "one":
        torch.set_num_threads(1)
    with Network.open(path, cache=False) as opened:
        assert opened(x).shape == (8, 5)
        opened.select_later({b.name: "sparsity=0.5" for b in opened.blocks}).result()
        assert opened(x).shape == (8, 5)

pid = os.fork()
if pid == 0:
    try:
        work()
        print("works", flush=True)
    except ForkError as error:
        print("refused:", error, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
if parent == "switches":
    go_on.set()
    future.result(60)
    assert network.selection == smallest
if network is not None:
    network(x)
    network.close()
print("parent done")
"""


def forked(path, threads, parent, child):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT, str(path), str(threads), parent, child],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said, parent_said = done.stdout.splitlines()
    assert parent_said == "parent done"
    return said


@pytest.mark.parametrize(("threads", "parent", "child"), [
    (1, "switches", "opens"), (2, "runs", "one"), (2, "imports", "opens"), (2, "switches", "close"),
])  # fmt: skip
def test_it_works(path, threads, parent, child):
    assert forked(path, threads, parent, child) == "works"


@pytest.mark.parametrize(("threads", "parent", "child", "reason"), [
    (2, "runs", "inherited", "open the bundle here"), (1, "switches", "switch", "open the bundle here"),
    (2, "runs", "opens", "torch.set_num_threads(1) first"),
])  # fmt: skip
def test_it_is_refused(path, threads, parent, child, reason):
    said = forked(path, threads, parent, child)
    assert said.startswith("refused: ")
    assert reason in said
