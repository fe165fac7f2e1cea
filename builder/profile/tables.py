"""`Profile`: the measured tables, and the predictor for selections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from legodnn.builder.graph.resources import Resources
from legodnn.builder.profile.recheck import Recheck
from legodnn.shared.bundle.manifest import Predictor
from legodnn.shared.tasks.judgement import Judgement


@dataclass
class Profile:
    """The measured tables of every variant, and the predictor for selections.

    ``accuracy_loss`` and ``distortion`` are by block and variant (accuracies as fractions); ``resources`` is by segment
    and variant; ``compositions`` lists what the predictor was fitted on, ``uniform`` the selections with one variant in
    all blocks, which it was not fitted on. ``chance_accuracy`` is the chance level, None where it is not known.
    ``left_out`` has a sentence for everything that gave numbers that are not finite; variants among it are in none of
    the tables. ``precision`` is that of the weights that were measured, ``recheck`` the teacher on the first batches,
    None where it is not known; ``judgement`` has all the teacher's figures, also by class, None where its manager is no
    application's. Profiles made by versions without one of the last fields have its default.
    """

    teacher_accuracy: float
    accuracy_loss: dict[str, dict[str, float]]
    distortion: dict[str, dict[str, float]]
    resources: dict[str, dict[str, Resources]]
    predictor: Predictor
    compositions: list[dict[str, Any]] = field(default_factory=list)
    uniform: list[dict[str, Any]] = field(default_factory=list)
    chance_accuracy: float | None = None
    left_out: list[str] = field(default_factory=list)
    precision: str = "fp32"
    recheck: Recheck | None = None
    judgement: Judgement | None = None

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers."""
        return {**asdict(self), "predictor": self.predictor.to_plain()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Profile:
        """The inverse of `to_plain`."""
        table = {s: {v: Resources(**c) for v, c in row.items()} for s, row in plain["resources"].items()}
        first = plain.get("recheck")
        recheck = Recheck(**{**first, "checks": tuple(first["checks"])}) if first else None
        predictor = Predictor.from_plain(plain["predictor"])
        judgement = {"judgement": Judgement.from_plain(plain["judgement"])} if plain.get("judgement") else {}
        return cls(**{**plain, "resources": table, "predictor": predictor, "recheck": recheck, **judgement})
