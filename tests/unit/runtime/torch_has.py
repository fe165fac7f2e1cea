"""What the torch that is installed here was built with."""

import pytest

from legodnn.runtime.engine.backends import prepacked, xnnpack
from legodnn.runtime.engine.composer import Composer
from legodnn.shared.errors import CompositionError


def no_xnnpack():
    """Whether torch was built without XNNPACK's operators."""
    return _lacks(xnnpack)


def no_prepacked():
    """Whether torch was built without oneDNN's prepacked operators, or is older than they are."""
    return _lacks(prepacked)


def _lacks(backend):
    try:
        backend.require_operators()
    except CompositionError:
        return True
    return False


def skip_without(network, backend):
    """Skip a test where torch has no such way to run."""
    try:
        Composer(network.reader, network.sample_inputs()).compose(network.manifest.original_selection, backend)
    except CompositionError as error:
        pytest.skip(str(error))
