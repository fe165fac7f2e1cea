"""The HTML report of a build: one file that says what the build found, and lets nothing into the page but text."""

import json
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from legodnn.builder import pipeline
from legodnn.builder.__main__ import main
from legodnn.builder.distill.results import Result
from legodnn.builder.graph.channels.map import Reason
from legodnn.builder.plan.plan import NotPrunable
from legodnn.builder.profile.tables import Profile
from legodnn.builder.recipe.resolve import build_loaders, build_manager
from legodnn.builder.recipe.schema import Call
from legodnn.builder.report import seconds as seconds_module
from legodnn.builder.report.path import report_path
from legodnn.builder.report.seconds import Timing
from legodnn.builder.report.selections import Selections
from legodnn.builder.report.words import percent, selection_line, signed_points
from legodnn.builder.workdir.clock import Clock, StageTime
from legodnn.builder.workdir.stage import Stage
from legodnn.shared.units import format_bytes
from tests.unit.builder.report.reports import SETTINGS, read, shown, table


def selections(document):
    return document.all(id="accuracy")[0].all("table")[0].rows()


def test_every_bundle_of_a_folder_has_a_report_of_its_own(folder, capsys):
    for name in ("a.lgb", "b.lgb"):
        assert main([str(folder.recipe), "-o", str(folder.path / name)]) == 0
        assert f"{name[0]}.report.html: the report" in capsys.readouterr().out
        assert read(folder.path / f"{name[0]}.report.html").all("h1")[0].text == name
    assert [report_path(Path(n)).name for n in ("a.lgb", "a.bin")] == ["a.report.html", "a.bin.report.html"]


def test_the_page_is_well_formed_and_stands_alone(built):
    folder, _ = built
    document = read(folder.path / "small.report.html")
    everything = document.all()
    assert not document.all("script")
    links = [v for node in everything for k, v in node.attributes.items() if k in ("src", "href", "srcset", "data")]
    assert links == ["data:,"]
    assert not re.search(r"url\((?!#)|@import", document.all("style")[0].text)
    names = [node.attributes["id"] for node in everything if "id" in node.attributes]
    assert len(names) == len(set(names))
    assert {n.attributes["aria-labelledby"] for n in everything if "aria-labelledby" in n.attributes} <= {*names}
    assert not [k for node in everything for k in node.attributes if k.startswith("on")]


def test_every_drawing_says_what_it_shows(built):
    folder, _ = built
    drawings = [s for s in read(folder.path / "small.report.html").all("svg") if "aria-hidden" not in s.attributes]
    assert len(drawings) == 4
    for svg in drawings:
        assert svg.attributes["role"] == "img"
        assert len(svg.attributes["aria-label"]) > 20


def test_the_losses_and_costs_are_the_profile_s(built):
    folder, summary = built
    rows = table(read(folder.path / "small.report.html"), "variants")
    assert [row[0] for row in rows] == list(summary.profile.distortion)
    for block, *cells in rows:
        losses, distortions = summary.profile.accuracy_loss[block], summary.profile.distortion[block]
        wanted = [f"{signed_points(-losses[v])}{distortions[v]:.2g}" for v in losses if v != "original"]
        assert cells == wanted


def test_every_selection_shown_has_its_own_numbers(built):
    folder, summary = built
    profile, document = summary.profile, read(folder.path / "small.report.html")
    found = {row[1]: row for row in selections(document)}
    for measured in [*profile.compositions, *profile.uniform]:
        selection = measured["selection"]
        row = found[selection_line(selection)]
        weights = sum(c[selection.get(s, "original")].weight_bytes for s, c in profile.resources.items())
        distortion = sum(profile.distortion[b][v] for b, v in selection.items())
        assert row[2] == format_bytes(weights)
        assert row[4] == percent(profile.predictor.accuracy(distortion))
        assert row[5] == percent(measured["accuracy"])
    assert {row[0] for row in found.values()} >= {"teacher", "uniform"}
    assert all(re.fullmatch(r"[\d.]+ [mu]?s", found[selection_line(p.selection)][6]) for p in summary.timed)


def test_the_charts_have_a_mark_for_each_with_its_numbers(built):
    folder, summary = built
    memory, time, predictor = read(folder.path / "small.report.html").all("figure")
    land = Selections(summary.profile)
    assert len(time.all("svg", role="img")[0].all("title")) == len(summary.timed)
    tips = [title.text for title in memory.all("svg", role="img")[0].all("title")]
    assert len(tips) == len(land.chosen) + len(land.uniform) + 1
    for point in land.uniform:
        assert f"uniform: {percent(point.measured)} measured, {format_bytes(point.weight_bytes)}" in "\n".join(tips)
    assert len(predictor.all("svg", role="img")[0].all("title")) == len(land.measured) + len(land.unseen)


def test_the_plan_s_reasons_the_recipe_and_the_versions_are_there(built):
    folder, summary = built
    document = read(folder.path / "small.report.html")
    stays = [[str(s.reason), ", ".join(s.layers), f"{s.channels:,}"] for s in summary.plan.not_prunable]
    assert table(document, "dense") == stays
    settings = dict(document.all(id="making")[0].all("table")[1].rows())
    for part in ("model", "data", "teacher", "blocks", "distill", "profile", "bundle"):
        assert {f"{part}.{f.name}" for f in fields(getattr(summary.recipe, part))} <= set(settings)
    assert settings["blocks.sparsity"] == "0, 0.25, 0.5, 0.75"
    versions = dict(document.all(id="making")[0].all("table")[2].rows())
    assert versions["torch"] == summary.versions["torch"]


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;</style></title>\x00\ud800"


def test_no_name_gets_into_the_page_as_anything_but_text(built):
    _, summary = built
    bundle = replace(summary.recipe.bundle, labels=(HOSTILE,))
    recipe = replace(summary.recipe, name=HOSTILE, manager=Call(HOSTILE, (HOSTILE,)), bundle=bundle)
    stay = NotPrunable((HOSTILE,), 3, Reason(HOSTILE, HOSTILE, HOSTILE, HOSTILE))
    variant = next(r for r in summary.results if r.variant != "original")
    wicked = replace(
        summary,
        recipe=recipe,
        task=HOSTILE,
        metric=HOSTILE,
        plan=replace(summary.plan, trunk_not_prunable=[stay], trunk_layers=[HOSTILE], opaque={HOSTILE: HOSTILE}),
        segments=[replace(s, name=HOSTILE, layers=[HOSTILE]) for s in summary.segments],
        results=[*summary.results, Result(variant.block, HOSTILE, "failed", 1.0)],
        timing=Timing([None for _ in summary.timed], 1, HOSTILE),
        stages=[StageTime(HOSTILE, None, HOSTILE)],
        bundle_name=HOSTILE,
        device=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    document, plain = shown(wicked), shown(summary)
    assert not document.all("script")
    assert not document.all("img")
    assert not [k for node in document.all() for k in node.attributes if k.startswith("on")]
    assert {node.tag for node in document.all()} <= {node.tag for node in plain.all()}
    assert document.text.count("<script>alert(1)</script>") > 20


def test_a_build_taken_up_again_says_what_is_from_before(built, tmp_path):
    folder, summary = built
    assert [s.name for s in summary.stages] == ["cut", "extract", "distill", "profile", "pack", "time"]
    assert all(s.seconds > 0 and not s.note for s in summary.stages)
    out = shutil.copytree(folder.path, tmp_path / "again") / "small.lgb"
    shutil.rmtree(out.with_name("small.lgb.work") / "trained" / "profile")
    assert main([str(folder.recipe), "-o", str(out), *SETTINGS]) == 0
    rows = {name: note for name, note, _ in table(read(out.with_name("small.report.html")), "making")}
    before = [name for name, note in rows.items() if note.startswith("taken from before: made on ")]
    assert before == ["extract", "distill"]
    assert rows["profile"] == ""


def test_a_stage_that_went_on_from_an_interruption_says_so(tmp_path):
    stage = Stage(tmp_path / "stage", {"seed": "0"})
    with pytest.raises(KeyboardInterrupt), stage.making(["file"]):
        raise KeyboardInterrupt
    clock = Clock()
    with stage.making(["file"]):
        pass
    with clock.watch("distill", [stage]):
        pass
    with clock.watch("profile", [Stage(tmp_path / "nowhere", {})]):
        pass
    first, second = clock.stages
    assert 0 <= first.seconds < 60
    assert first.note == "went on from an interrupted run, whose time is not counted"
    assert (second.seconds, second.note) == (None, "taken from before; its time is not known")


def test_a_profile_of_an_older_build_is_still_read(built, tmp_path):
    folder, _ = built
    out = shutil.copytree(folder.path, tmp_path / "old") / "small.lgb"
    stored = out.with_name("small.lgb.work") / "trained" / "profile" / "profile.json"
    old = json.loads(stored.read_text())
    del old["uniform"]
    stored.write_text(json.dumps(old))
    mark = stored.with_name("stage.json")
    mark.write_text(json.dumps({k: v for k, v in json.loads(mark.read_text()).items() if k != "run"}))
    assert Profile.from_plain(old).uniform == []
    before = out.read_bytes()
    assert main([str(folder.recipe), "-o", str(out), *SETTINGS]) == 0
    assert out.read_bytes() == before
    document = read(out.with_name("small.report.html"))
    assert "uniform sparsity, predicted" in document.text
    assert "its time is not known" in document.all(id="making")[0].text


@pytest.mark.parametrize(
    ("module", "body", "reason"),
    [
        ("stopped", "raise RuntimeError('no clock here')", "no clock here"),
        ("senseless", "return float('nan')", "says nan seconds"),
    ],
)
def test_what_cannot_be_timed_is_said_and_changes_nothing(built, tmp_path, module, body, reason):
    folder, _ = built
    out = shutil.copytree(folder.path, tmp_path / "untimed") / "small.lgb"
    folder.write(
        f"{module}.py",
        f"""
        from legodnn.builder import CommonModelManager

        class Odd(CommonModelManager):
            def get_model_latency(self, model, sample_num, model_input_size, device):
                {body}
        """,
    )
    before = out.read_bytes()
    assert main([str(folder.recipe), "-o", str(out), *SETTINGS, "--set", f"manager={module}:Odd"]) == 0
    assert out.read_bytes() == before
    text = read(out.with_name("small.report.html")).all(id="accuracy")[0].text
    assert "Nothing could be timed" in text
    assert reason in text


def test_timing_ends_when_its_time_is_used_up(built, tmp_path, monkeypatch):
    folder, summary = built
    monkeypatch.setattr(seconds_module, "LIMIT_SECONDS", 0.0)
    out = shutil.copytree(folder.path, tmp_path / "hasty") / "small.lgb"
    before = out.read_bytes()
    assert main([str(folder.recipe), "-o", str(out), *SETTINGS]) == 0
    assert out.read_bytes() == before
    document = read(out.with_name("small.report.html"))
    timed = [row[0] for row in selections(document) if row[6]]
    assert timed == ["teacher"]
    assert f"{len(summary.timed) - 1} selections left out" in document.text


def test_a_build_without_timing_is_the_same_and_its_report_has_no_times(built, tmp_path, monkeypatch):
    folder, _ = built
    monkeypatch.setattr(pipeline, "time_selections", lambda *_: pytest.fail("timed"))
    out = shutil.copytree(folder.path, tmp_path / "untimed") / "small.lgb"
    before, timed = out.read_bytes(), read(out.with_name("small.report.html"))
    assert main([str(folder.recipe), "-o", str(out), *SETTINGS, "--no-timing"]) == 0
    assert out.read_bytes() == before
    document = read(out.with_name("small.report.html"))
    memory, missing, predictor = document.all("figure")
    assert document.all("h2", id="accuracy-title")[0].text == "Accuracy against memory"
    assert missing.text == "Times were not measured: the build was run with --no-timing."
    for figure, other in ((memory, timed.all("figure")[0]), (predictor, timed.all("figure")[2])):
        assert [t.text for t in figure.all("title")] == [t.text for t in other.all("title")]
    rows = {tuple(row) for row in selections(document)}
    assert rows <= {tuple(row[:6]) for row in selections(timed)}
    assert len(rows) > 4
    assert "time" not in [row[0] for row in table(document, "making")]


def test_the_chance_level_is_shown_beside_the_teacher(built):
    _, summary = built
    labels = torch.cat([y for _, y in build_loaders(summary.recipe, build_manager(summary.recipe).task).test])
    chance = summary.profile.chance_accuracy
    assert chance == int(labels.bincount().max()) / len(labels)
    document = shown(summary)
    tiles = {tile.all("dt")[0].text: tile.all("dd")[0].text for tile in document.all("dl")[0].all("div")}
    assert tiles[f"{summary.metric} by chance"] == percent(chance)
    name, accuracy, share, _ = table(document, "budgets")[-1]
    assert (name, accuracy) == ("chance level", f"{percent(chance)}measured")
    assert share == percent(chance / summary.profile.teacher_accuracy, 1)
    for accuracy, inside in ((Selections(summary.profile).frontier[0].accuracy, True), (-1.0, False)):
        document = shown(replace(summary, profile=replace(summary.profile, chance_accuracy=accuracy)))
        for figure in document.all("figure")[:2]:
            lines = figure.all("polyline", class_="line chance")
            assert len(lines) == ("chance level" in figure.text) == inside
        assert ("outside the charts" in document.all(id="accuracy")[0].text) == (not inside)
    unknown = shown(replace(summary, profile=replace(summary.profile, chance_accuracy=None, judgement=None)))
    assert not any(words in unknown.text for words in ("chance level", "by chance"))


def test_what_only_some_builds_have_to_say_is_said(built, monkeypatch):
    _, summary = built
    for name in ("FEW", "DRAWN"):
        monkeypatch.setattr(f"legodnn.builder.report.selections.{name}", 2)
    flat = replace(summary.profile.predictor, curve=((0.0, 0.0), (1.0, 0.0)))
    worse = [{**row, "accuracy": 0.0} for row in summary.profile.uniform[:-1]]
    rare = replace(
        summary,
        recipe=replace(summary.recipe, model=replace(summary.recipe.model, inputs=2)),
        profile=replace(summary.profile, predictor=flat, uniform=worse),
        segments=[replace(summary.segments[0], name=f"s{i}", is_block=i > 0, reads=[i - 1]) for i in range(30)],
    )
    text = shown(rare).text
    for said in ("2 inputs", "drawn at random", "below the charts", "1 segment of the trunk", "The drawing"):
        assert said in text


def test_a_report_that_cannot_be_written_is_known_before_the_work(folder, capsys):
    (folder.path / "small.report.html").mkdir()
    assert main([str(folder.recipe), "-o", str(folder.path / "small.lgb")]) == 2
    assert "small.report.html: is no regular file" in capsys.readouterr().err
    assert not (folder.path / "small.lgb.work").exists()


# ---- the parts ----------------------------------------------------------------------------------------------------
def test_nothing_drawn_is_better_than_the_frontier(built):
    _, summary = built
    land = Selections(summary.profile)
    assert len(land.everywhere) == land.count
    for point in [*land.everywhere, *land.uniform]:
        best = land.within(point.weight_bytes)
        assert best.weight_bytes <= point.weight_bytes
        assert best.predicted >= point.predicted
    assert land.within(land.frontier[0].weight_bytes - 1) is None
    assert [p.flops for p in land.quickest] == sorted(p.flops for p in land.quickest)


def test_many_selections_are_drawn_from_small_to_large_and_the_same_every_time(built, monkeypatch):
    _, summary = built
    monkeypatch.setattr("legodnn.builder.report.selections.FEW", 2)
    first, second = Selections(summary.profile), Selections(summary.profile)
    assert [p.selection for p in first.everywhere] == [p.selection for p in second.everywhere]
    sizes = {p.weight_bytes for p in first.everywhere}
    assert {first.teacher.weight_bytes, first.uniform[0].weight_bytes} <= sizes


def test_the_baseline_passes_through_its_networks_and_ends_with_them(built):
    _, summary = built
    land = Selections(summary.profile)
    for point in [*land.uniform, land.teacher]:
        assert land.baseline(point.weight_bytes) == pytest.approx(point.accuracy)
    assert land.baseline(land.teacher.weight_bytes + 1) is None
    assert land.baseline(land.uniform[0].weight_bytes - 1) is None


def test_a_uniform_selection_keeps_the_original_where_a_variant_is_missing(built):
    _, summary = built
    first, *others = summary.profile.distortion
    distortion = {b: dict(row) for b, row in summary.profile.distortion.items()}
    del distortion[first]["sparsity=0.5"]
    uniform = Selections(replace(summary.profile, distortion=distortion)).uniform
    [half] = [p.selection for p in uniform if "sparsity=0.5" in p.selection.values()]
    assert half == {first: "original", **dict.fromkeys(others, "sparsity=0.5")}


def test_the_bundles_own_remarks_are_shown(built):
    _, summary = built
    assert any(note.startswith("samples are tensors") for note in summary.notes)
    assert "samples are tensors" in shown(summary).all(id="making")[0].text
    assert "Remarks" not in shown(replace(summary, notes=())).all(id="making")[0].text
