"""A choice carries the error to expect of its accuracy."""

from dataclasses import replace

from legodnn.runtime.optimizer.figures import Figures
from legodnn.shared.tasks.prediction import prediction_error
from tests.made_up import network


def test_a_choice_s_error_includes_that_of_the_examples_that_were_judged():
    made = network([[(0.0, 0.001, 100, 10), (0.2, 0.0005, 50, 10)]])
    predictor = replace(made.manifest.predictor, judged=445)
    for variant in ("original", "v1"):
        choice = Figures(made, True).choice({"block0": variant}, True, None)
        assert choice.accuracy_error == made.manifest.predictor.mean_error == 0.01
        judged = replace(made, manifest=replace(made.manifest, predictor=predictor))
        choice = Figures(judged, True).choice({"block0": variant}, True, None)
        wanted = prediction_error(predictor, "image classification", "top-1 accuracy", choice.accuracy)
        assert choice.accuracy_error == wanted > 0.014
