"""A build leaves everything it said in its work directory, and its losses as lines of JSON."""

import json
import logging

import pytest

from legodnn.builder.__main__ import main
from legodnn.builder.workdir.log import in_files, note, on_stderr

BROKEN = """
from legodnn.builder import CommonModelManager

class Judge(CommonModelManager):
    def get_model_acc(self, model, test_loader, device):
        figures = {}
        return figures["hits"]
"""


def test_messages_values_and_tracebacks_are_in_files(tmp_path, capsys):
    def work():
        with on_stderr(), in_files(tmp_path):
            logging.getLogger("legodnn.builder.test").info("told")
            logging.getLogger("legodnn.builder.test").debug("not told")
            note("distill", loss=0.5)
            raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        work()
    log = (tmp_path / "build.log").read_text()
    assert "INFO legodnn.builder.test: told" in log
    assert "DEBUG legodnn.builder.test: not told" in log
    assert "ZeroDivisionError: by zero" in log.splitlines()[-1]
    [line] = (tmp_path / "build.jsonl").read_text().splitlines()
    assert {"stage": "distill", "loss": 0.5}.items() <= json.loads(line).items()
    assert capsys.readouterr().err == "told\n"
    note("distill", loss=1.0)
    assert len((tmp_path / "build.jsonl").read_text().splitlines()) == 1


def test_verbose_says_more(capsys):
    with on_stderr(verbose=True):
        logging.getLogger("legodnn.builder.test").debug("more")
    assert capsys.readouterr().err == "more\n"


def test_a_build_logs_its_stages_and_losses_and_ends_with_a_table(folder, capsys):
    build = [str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--work", str(folder.path / "w"), "--no-timing"]
    assert main(build) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:2] == ["stage", "time"]
    assert [row[0] for row in rows[1:6]] == ["cut", "extract", "distill", "profile", "pack"]
    log = (folder.path / "w" / "build.log").read_text()
    assert "distill: begun" in log
    values = [json.loads(line) for line in (folder.path / "w" / "build.jsonl").read_text().splitlines()]
    assert all(v["stage"] == "distill" and v["variant"] == "sparsity=0.5" for v in values)
    assert values[0]["step"] == 0
    assert 0 < values[0]["loss"] < 10
    assert 0 < values[0]["rate"] < 0.002
    assert main(build) == 0
    out = capsys.readouterr().out
    assert out.count("taken from before: made on ") == 3


def test_an_exception_in_own_code_is_a_line_with_its_place_and_its_traceback_is_in_the_log(folder, capsys):
    folder.write("judge.py", BROKEN)
    build = [str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--work", str(folder.path / "w")]
    assert main([*build, "--set", "manager=judge:Judge"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("legodnn-build: ")]
    assert line == "legodnn-build: KeyError: 'hits' (judge.py, line 7); --debug shows the traceback"
    assert "Traceback" in (folder.path / "w" / "build.log").read_text()
    assert main([*build, "--set", "manager=judge:Judge", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_data_function_that_fails_is_told_with_its_line(folder, capsys):
    folder.write("mine.py", "def batches():\n    raise KeyError('lost')\n")
    assert main([str(folder.recipe), "-o", str(folder.path / "x.lgb"), "--set", "data.test=mine:batches"]) == 2
    assert "data.test: 'mine:batches' failed: KeyError: 'lost' (mine.py, line 2)" in capsys.readouterr().err
