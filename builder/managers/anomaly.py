"""Anomaly detection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn

from legodnn.builder.managers.abstract import Device
from legodnn.builder.managers.task import TaskManager
from legodnn.shared.bundle.manifest import AnswerSpec
from legodnn.shared.tasks.anomaly import Anomaly

NORMAL = 0.95
"""Share of normal inputs that are below the threshold of a bundle: one in twenty is a false alarm. Not tuned."""


class AnomalyManager(TaskManager):
    """Anomaly detection: inputs to scores (n, 1), higher for what is unusual; truths are int64 (n,), 1 for abnormal."""

    def __init__(self) -> None:
        super().__init__(Anomaly())

    def answer_spec(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> AnswerSpec:
        """With the threshold that the scores of `NORMAL` of the loader's normal inputs are below."""
        with torch.no_grad():
            scores = [model(x.to(device)).flatten()[abnormal.to(device) == 0].cpu() for x, abnormal in test_loader]
        return AnswerSpec(threshold=float(torch.cat(scores).double().quantile(NORMAL)))
