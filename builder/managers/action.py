"""Action recognition."""

from __future__ import annotations

from legodnn.builder.managers.task import TaskManager
from legodnn.shared.tasks.classification import ACTIONS


class ActionManager(TaskManager):
    """Action recognition: clips to scores (n, classes); labels are int64 (n,)."""

    def __init__(self) -> None:
        super().__init__(ACTIONS)
