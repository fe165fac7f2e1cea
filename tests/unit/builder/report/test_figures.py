"""The figures of a report: the teacher's beside their chance levels and by class, and the errors to expect."""

import math
from dataclasses import replace

import pytest

from legodnn.builder.report.figures import memory_chart
from legodnn.builder.report.selections import Selections
from legodnn.builder.report.words import expected_error, percent
from legodnn.shared.tasks.prediction import standard_error
from tests.unit.builder.report.reports import read, shown, table


def test_predicted_numbers_carry_their_error(built):
    folder, summary = built
    document = read(folder.path / "small.report.html")
    predictor, error = summary.profile.predictor, f"{100 * summary.profile.predictor.mean_error:.2f}"
    assert predictor.judged == 64
    for _, accuracy, *_ in table(document, "budgets")[1:]:
        if not accuracy.endswith(("–", "measured")):
            value, _, expected = accuracy.partition(" %predicted ± ")
            wanted = math.hypot(predictor.mean_error, standard_error(float(value) / 100, 64))
            assert float(expected) == pytest.approx(100 * wanted, abs=0.006)
    assert f"off by {error} points in the mean" in document.all(id="predictor")[0].text


def test_the_error_of_other_metrics_says_on_which_inputs_it_holds(built):
    _, summary = built
    other = replace(summary, metric="kindness")
    note = " on the builder's 64 examples"
    error = 100 * summary.profile.predictor.mean_error
    assert note not in expected_error(summary, 0.5)
    assert expected_error(other, 0.5) == f"{error:.2f}{note}"
    section = shown(other).all(id="teacher")[0].text
    assert "Measured on these 64 inputs; on others it is another." in section
    accuracy = summary.profile.teacher_accuracy
    wanted = f"Measured on 64 inputs: of so many, it has a standard error of {100 * standard_error(accuracy, 64):.2f}"
    assert wanted in shown(summary).all(id="teacher")[0].text
    old = replace(summary.profile, predictor=replace(summary.profile.predictor, judged=0))
    assert "Measured on" not in shown(replace(summary, profile=old)).all(id="teacher")[0].text


def test_the_band_is_as_wide_as_the_error_to_expect(built):
    _, summary = built
    land = Selections(summary.profile)
    chart = memory_chart(summary, land)
    [band] = [mark for mark in chart.marks if mark.kind == "band"]
    predictor = summary.profile.predictor
    accuracies = [point.predicted for point in land.frontier]
    accuracies.append(accuracies[-1])
    errors = [math.hypot(predictor.mean_error, standard_error(accuracy, 64)) for accuracy in accuracies]
    low = [chart.down(a - e) for a, e in zip(accuracies, errors, strict=True)]
    high = [chart.down(a + e) for a, e in zip(accuracies, errors, strict=True)]
    assert [y for _, y in band.corners] == pytest.approx([*low, *reversed(high)])


def test_the_teacher_s_figures_stand_beside_chance_and_by_class(built):
    folder, summary = built
    found = summary.profile.judgement
    section = read(folder.path / "small.report.html").all(id="teacher")[0]
    figures, classes, confusion = (node.rows() for node in section.all("table"))
    wanted = [[name, percent(value), percent(found.chance[name])] for name, value in found.figures.items()]
    assert sorted(figures) == sorted(wanted)
    assert [row[0] for row in figures] == ["top-1 accuracy", "balanced accuracy"]
    for row, part in zip(classes, found.parts, strict=True):
        shares = [part.figures[name] for name in ("precision", "recall")]
        assert row == [str(part.number), str(part.count), *("–" if v is None else percent(v) for v in shares)]
    assert confusion == [[str(i), *map(str, row)] for i, row in enumerate(found.confusion)]
    labels = replace(summary.recipe, bundle=replace(summary.recipe.bundle, labels=("ant", "bee", "cat", "dog")))
    named = shown(replace(summary, recipe=labels, metric="kindness", task="being kind")).all(id="teacher")[0]
    assert [row[0] for row in named.all("table")[1].rows()] == ["ant", "bee", "cat", "dog"]
    assert named.all("table")[0].rows()[0][:2] == ["kindness", percent(summary.profile.teacher_accuracy)]
    none = shown(replace(summary, profile=replace(summary.profile, judgement=None))).all(id="teacher")[0]
    assert len(none.all("table")) == 1
