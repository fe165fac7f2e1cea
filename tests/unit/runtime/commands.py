"""`legodnn-run` as users start it, in a process of its own."""

import subprocess
import sys

from legodnn.runtime import Network
from legodnn.runtime.device.memory_table import MemoryTable

WITH_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests are a script's background job
from legodnn.runtime.command.main import main
sys.exit(main())
"""


def command(*arguments):
    return [sys.executable, "-m", "legodnn.runtime.command.main", *map(str, arguments)]


def run(*arguments, stdin=None):
    return subprocess.run(command(*arguments), input=stdin, capture_output=True, check=False)


def memory_by_tables(path):
    """Have this device remember that a bundle's selections need what its tables say, instead of measuring it.

    That takes five processes, and the little that small networks need is lost in the noise. Returns the path.
    """
    with Network.open(path) as network:
        table = MemoryTable(str(network.find_way()), 0, 1.0, 0.0, 0.0, 0.0, 5)
        network.cache.put("memory", table.to_plain())
    return path


def refused(result):
    """The one line on stderr of a run that ended with status 2."""
    lines = [line for line in result.stderr.decode().splitlines() if not line.startswith("measuring")]
    assert result.returncode == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("legodnn-run: ")
    return lines[0]
