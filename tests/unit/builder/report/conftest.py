"""One finished build for all tests of a module."""

import pytest

from legodnn.builder import pipeline
from legodnn.builder.__main__ import main
from tests.unit.builder.conftest import modules_forgotten
from tests.unit.builder.report.reports import SETTINGS, telling_folder


@pytest.fixture(autouse=True)
def _forgetful(tmp_path_factory):
    with modules_forgotten(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a finished build in it, and the summary its report was made from."""
    folder, seen = telling_folder(tmp_path_factory.mktemp("built")), []
    with modules_forgotten(folder.path), pytest.MonkeyPatch.context() as patched:
        write = pipeline.write_report
        patched.setattr(pipeline, "write_report", lambda path, summary: (seen.append(summary), write(path, summary)))
        assert main([str(folder.recipe), "-o", str(folder.path / "small.lgb"), *SETTINGS]) == 0
    return folder, seen[0]
