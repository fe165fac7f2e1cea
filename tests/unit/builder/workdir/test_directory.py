"""Ways to point `--work` wrongly: refused in one line, or harmless; no file of others is ever lost."""

import json
import os
import subprocess
import sys

import pytest

from legodnn.builder.__main__ import main
from tests.unit.builder.conftest import modules_forgotten


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".work" not in p.name}


def home(folder):
    (folder / "home" / "trained").mkdir(parents=True)
    (folder / "home" / "letter.txt").write_text("mine")
    (folder / "home" / "trained" / "dog.txt").write_text("mine")
    return folder / "home"


def photos(folder):
    (folder / "photos" / "cat").mkdir(parents=True)
    (folder / "photos" / "cat" / "1.png").write_bytes(b"mine")
    return folder / "photos"


def other_project(folder):
    (folder / "other").mkdir()
    (folder / "other" / "stage.json").write_text(json.dumps({"inputs": {"a": "b"}, "files": ["x"], "done": True}))
    (folder / "other" / "x").write_text("mine")
    return folder / "other"


def half_ours(folder):
    """A work directory into which somebody has put a file and a folder of a stage's name."""
    (folder / "half").mkdir()
    (folder / "half" / "legodnn-work.json").write_text("{}")
    (folder / "half" / "trained" / "sparsity=0.5").mkdir(parents=True)
    (folder / "half" / "trained" / "sparsity=0.5" / "mine.txt").write_text("mine")
    return folder / "half"


def linked(folder):
    (folder / "link").symlink_to(home(folder))
    return folder / "link"


def read_only(folder):
    (folder / "locked").mkdir(mode=0o555)
    if os.access(folder / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    return folder / "locked" / "work"


WRONG = {
    "a home": (home, "is no work directory and not empty (letter.txt is in it)"),
    "the recipe's folder, and the bundle's": (lambda folder: folder, "is in the work directory"),
    "a folder of photos": (photos, "is no work directory and not empty (cat is in it)"),
    "a folder with a mark of a stage": (other_project, "is no work directory and not empty"),
    "a link to a home": (linked, "is no work directory and not empty"),
    "a file": (lambda folder: folder / "parts.py", "not a directory"),
    "below a file": (lambda folder: folder / "parts.py" / "work", "Not a directory"),
    "a device": (lambda folder: "/dev/null", "not a directory"),
    "a work directory with files of others": (half_ours, "has files that no build wrote (mine.txt)"),
    "a folder that cannot be written to": (read_only, "cannot be used as a work directory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_work_directory_is_refused_in_one_line_and_nothing_is_lost(folder, capsys, name):
    make, reason = WRONG[name]
    work = make(folder.path)
    before = snapshot(folder.path)
    assert main([str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--work", str(work)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("legodnn-build: ")]
    assert reason in line
    assert {p: data for p, data in snapshot(folder.path).items() if p in before} == before


def test_files_of_others_in_a_work_directory_stay_where_they_are(folder):
    build = [str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--work", str(folder.path / "w"), "--no-timing"]
    assert main(build) == 0
    mine = [folder.path / "w" / "mine.txt", folder.path / "w" / "trained" / "sparsity=0.5" / "mine.txt"]
    for path in mine:
        path.write_text("mine")
    with modules_forgotten(folder.path):
        assert main([*build, "--seed", "1", "--set", "distill.epochs=2"]) == 0
    assert [path.read_text() for path in mine] == ["mine", "mine"]


def test_a_second_build_of_the_same_work_directory_is_refused(folder, capsys):
    work = folder.path / "w"
    build = [str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--work", str(work)]
    code = (
        "import sys; from pathlib import Path; from legodnn.builder.workdir.directory import open_work\n"
        f"with open_work(Path({str(work)!r})): print('open', flush=True); sys.stdin.read()"
    )
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **piped) as first:
        assert first.stdout.readline() == "open\n"
        assert main(build) == 2
        assert "in use since" in capsys.readouterr().err
        first.kill()
    with modules_forgotten(folder.path):
        assert main([*build, "--no-timing"]) == 0
