"""`legodnn-build` from a recipe to a bundle: repeatable, resumable, and nothing half-written whatever happens."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest


def command(recipe, out, *options):
    return [sys.executable, "-m", "legodnn.builder", str(recipe), "-o", str(out), *options]


def build(recipe, out, *options, **kwargs):
    return subprocess.run(command(recipe, out, *options), capture_output=True, text=True, check=False, **kwargs)


def leftovers(folder):
    return [path.name for path in folder.rglob("*.part")]


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(recipe, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        result = build(recipe, tmp_path / f"{name}.lgb", "--seed", str(seed))
        assert result.returncode == 0, result.stderr
    first, second, other = ((tmp_path / f"{name}.lgb").read_bytes() for name in "abc")
    assert first == second
    assert first != other
    assert leftovers(tmp_path) == []


def test_a_build_killed_ten_times_ends_with_the_same_bytes(recipe, tmp_path):
    long = ("--set", "distill.epochs=12")
    started = time.monotonic()
    assert build(recipe, tmp_path / "none.lgb", "--plan").returncode == 0
    start_up = time.monotonic() - started
    assert build(recipe, tmp_path / "whole.lgb", *long).returncode == 0
    whole = (tmp_path / "whole.lgb").read_bytes()
    generator = random.Random(0)
    out, work = tmp_path / "killed.lgb", tmp_path / "killed.lgb.work"
    kills = 0
    while kills < 10:
        process = subprocess.Popen(command(recipe, out, *long), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(generator.uniform(0.7, 1.8) * start_up)
            finished = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            finished = False
            kills += 1
        if out.exists():
            assert out.read_bytes() == whole
        if finished:
            out.unlink()
            shutil.rmtree(work)
            start_up *= 0.8  # the machine has become faster since it was measured
    result = build(recipe, out, *long)
    assert result.returncode == 0, result.stderr
    assert out.read_bytes() == whole


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_with_130_and_loses_nothing(recipe, tmp_path):
    out = tmp_path / "x.lgb"
    process = subprocess.Popen(command(recipe, out), stderr=subprocess.PIPE, text=True)
    work = tmp_path / "x.lgb.work" / "trained"
    deadline = time.monotonic() + 60
    while not work.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert not out.exists()
    assert build(recipe, out).returncode == 0


def test_a_disk_that_is_full_leaves_nothing_half_written(recipe, tmp_path):
    out = tmp_path / "x.lgb"
    assert build(recipe, out).returncode == 0
    whole = out.read_bytes()

    def small_disk():
        # A limit on file sizes stands in for a full disk: the write fails midway with an OSError.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, len(whole) // 2))

    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    result = build(recipe, out, preexec_fn=small_disk, env=environment)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert out.read_bytes() == whole
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("toy:network", "toy:nothing"), "has no 'nothing'"),
        (("[1, 3, 16, 16]", "[1, 5, 16, 16]"), "inputs have shape (32, 3, 16, 16), the recipe says (n, 5, 16, 16)"),
        (('"toy:train"', '"toy:data"'), "data.train: 'toy:data' failed: TypeError"),
        (("[blocks]", "[block]"), "did you mean 'blocks'?"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_one_line(recipe, tmp_path, change, reason):
    recipe.write_text(recipe.read_text().replace(*change))
    result = build(recipe, tmp_path / "x.lgb")
    assert result.returncode == 2
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x.lgb").exists()


def test_weights_that_are_no_numbers_are_refused(recipe, tmp_path):
    toy = tmp_path / "toy.py"
    broken = "def broken():\n    model = network()\n    model[0][0].weight.data[0] /= 0\n    return model\n"
    toy.write_text(f"{toy.read_text()}\n\n{broken}")
    recipe.write_text(recipe.read_text().replace("toy:network", "toy:broken"))
    result = build(recipe, tmp_path / "x.lgb")
    assert result.returncode == 2
    assert "not finite" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
