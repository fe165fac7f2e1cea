"""`Judgement`: all figures of an evaluation, each with its chance level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence

from legodnn.shared.tasks.chance import Chance
from legodnn.shared.tasks.task import Meaning, Meter, Part


@dataclass(frozen=True)
class Judgement:
    """What a meter has found.

    ``figures`` are the metrics by name, ``chance`` the chance levels of those that have one, ``parts`` the figures of
    each class or keypoint, ``confusion`` the inputs of each class (rows) by the class they were taken for (columns),
    ``lost`` the number of answers that were no numbers and counted as wrong.
    """

    figures: Dict[str, float]
    chance: Dict[str, float]
    parts: Sequence[Part]
    confusion: Optional[Sequence[Sequence[int]]]
    lost: int

    @staticmethod
    def of(meter: Meter, chance: Chance) -> "Judgement":
        """The judgement of a meter and the chance level of the same truths. Raises `DataError` where the metrics are
        undefined."""
        figures = meter.figures()
        levels = {name: value for name, value in chance.figures().items() if name in figures}
        return Judgement(figures, levels, tuple(meter.parts()), meter.confusion(), meter.lost)

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> "Judgement":
        """The inverse of `dataclasses.asdict`, also after JSON."""
        return Judgement(**{**plain, "parts": tuple(Part(**part) for part in plain["parts"])})

    def parts_plain(self, part: str, meaning: Meaning) -> Sequence[Dict[str, Any]]:
        """The parts as dicts: the number under the application's word for a ``part``, ``label``, ``count`` and
        ``figures``."""
        return [
            {part: p.number, "label": meaning.name(p.number), "count": p.count, "figures": dict(p.figures)}
            for p in self.parts
        ]
