"""A process that takes shares of a core in turns: `python -m tests.benchmarks.load BEGIN SECONDS TURN SHARE...`.

BEGIN is when, in seconds since the epoch; a turn takes TURN seconds, and the shares follow each other until SECONDS are
over. torch is not imported, so it is there at once.
"""

from __future__ import annotations

import sys
import time

PERIOD = 0.01
"""Seconds of which it works a share."""


def main() -> None:
    """Work and sleep."""
    begin, seconds, turn, *shares = map(float, sys.argv[1:])
    time.sleep(max(0.0, begin - time.time()))
    while (elapsed := time.time() - begin) < seconds:
        share = shares[int(elapsed / turn) % len(shares)]
        end = time.perf_counter() + share * PERIOD
        while time.perf_counter() < end:
            pass
        time.sleep((1 - share) * PERIOD)


if __name__ == "__main__":
    main()
