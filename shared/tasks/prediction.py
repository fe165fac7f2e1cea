"""How far a predicted accuracy may be from that on other inputs: the predictor's error, and that of the sample."""

from __future__ import annotations

import math

from legodnn.shared.bundle.manifest import Predictor
from legodnn.shared.tasks.known import task_named


def standard_error(accuracy: float, inputs: int) -> float:
    """The standard error of a share of ``inputs``, at least one, that are right.

    That of a binomial share for which every value was as likely beforehand, sqrt(p (1 - p) / (n + 3)) with
    p = (right + 1) / (n + 2): close to the usual sqrt(p (1 - p) / n) but for few inputs, and not 0 where all of them
    are right.
    """
    likely = (accuracy * inputs + 1) / (inputs + 2)
    return math.sqrt(likely * (1 - likely) / (inputs + 3))


def is_share(task: str, metric: str) -> bool:
    """Whether a metric is known to be the share of inputs that are right, whose sampling error is binomial."""
    known = task_named(task)
    return known is not None and known.share and known.metric == metric


def prediction_error(predictor: Predictor, task: str, metric: str, accuracy: float) -> float:
    """The error to expect of a predicted accuracy.

    For a share of inputs that are right, the root of the summed squares of the predictor's mean error and the standard
    error of the inputs that it was fitted on; for any other metric, and where their number is not known, the mean error
    on these inputs alone.
    """
    if not (predictor.judged and is_share(task, metric)):
        return predictor.mean_error
    return math.hypot(predictor.mean_error, standard_error(accuracy, predictor.judged))


def error_note(predictor: Predictor, task: str, metric: str) -> str:
    """What to say behind a `prediction_error`: nothing where it holds for other inputs as well, else for which it
    does."""
    if not predictor.judged:
        return " on the builder's examples"
    return "" if is_share(task, metric) else f" on the builder's {predictor.judged:,} examples"
