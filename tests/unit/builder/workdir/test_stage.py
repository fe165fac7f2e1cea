"""A stage's result is valid for its inputs, and nothing is removed that no build has written."""

import json

import pytest

from legodnn.builder.workdir.stage import MARK, Stage
from legodnn.shared.errors import WorkError


def make(folder, text="made", **inputs):
    stage = Stage(folder, inputs)
    with stage.making(["result", "parts/a"]):
        stage.path("parts").mkdir(exist_ok=True)
        stage.path("parts", "a").write_text(text)
        stage.path("result").write_text(text)
    return stage


def test_a_result_is_valid_for_its_inputs_alone(tmp_path):
    stage = make(tmp_path / "x", seed="0", rate="1")
    assert stage.done
    assert Stage(tmp_path / "x", {"rate": "1", "seed": "0"}).done
    other = Stage(tmp_path / "x", {"seed": "1", "rate": "1"})
    assert not other.done
    assert other.changes() == ["seed"]
    assert Stage(tmp_path / "x", {"seed": "0"}).changes() == ["rate"]
    assert Stage(tmp_path / "x", {"seed": "0", "rate": "1", "new": "2"}).changes() == ["new"]
    assert Stage(tmp_path / "none", {"seed": "0"}).changes() is None


def test_what_is_missing_or_of_other_inputs_is_refused_with_the_way_out(tmp_path):
    make(tmp_path / "x", seed="0").require("it")
    with pytest.raises(WorkError, match=r"made from something else \(seed\); run it"):
        Stage(tmp_path / "x", {"seed": "1"}).require("it")
    with pytest.raises(WorkError, match="nothing finished here; run it"):
        Stage(tmp_path / "none", {"seed": "1"}).require("it")


def test_an_interrupted_result_is_kept_for_the_same_inputs(tmp_path):
    stage = Stage(tmp_path / "x", {"seed": "0"})

    def interrupted():
        with stage.making(["half"]):
            stage.path("half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not stage.done
    with stage.making(["half"]):
        assert stage.path("half").read_text() == "half"
    assert stage.finished_by.resumed


def test_of_other_inputs_only_our_own_files_are_removed(tmp_path):
    make(tmp_path / "x", seed="0")
    (tmp_path / "x" / "notes.txt").write_text("mine")
    (tmp_path / "x" / "parts" / "b").write_text("mine")
    other = Stage(tmp_path / "x", {"seed": "1"})
    with other.making(["other"]):
        found = {str(p.relative_to(tmp_path / "x")) for p in (tmp_path / "x").rglob("*") if p.is_file()}
    assert found == {"notes.txt", "parts/b", MARK, "lock.json"}


def test_a_mark_cannot_name_files_elsewhere(tmp_path):
    stage = make(tmp_path / "x", seed="0")
    (tmp_path / "precious").write_text("mine")
    mark = json.loads(stage.path(MARK).read_text())
    mark["files"] += ["../precious", str(tmp_path / "precious")]
    stage.path(MARK).write_text(json.dumps(mark))
    with Stage(tmp_path / "x", {"seed": "1"}).making([]):
        assert (tmp_path / "precious").read_text() == "mine"


def test_a_directory_with_files_of_others_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(WorkError, match=r"has files that no build wrote \(photo.jpg\)"):
        make(tmp_path, seed="0")
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_damaged_mark_is_said(tmp_path):
    stage = make(tmp_path / "x", seed="0")
    stage.path(MARK).write_text("{")
    with pytest.raises(WorkError, match=r"stage.json: damaged"):
        _ = stage.done


def test_one_result_is_not_made_twice_at_once(tmp_path):
    stage = Stage(tmp_path / "x", {"seed": "0"})
    with stage.making([]), pytest.raises(WorkError, match="in use"), stage.making([]):
        pass
