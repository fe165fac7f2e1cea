"""What tests of both halves need."""

import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Processes that are started heed Ctrl-C, also where the tests are a script's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
