"""A recipe to start from: every key, with what it means and its default."""

from __future__ import annotations

import json
import textwrap
from dataclasses import MISSING, fields

from legodnn.builder.recipe.schema import DEFAULT_MANAGER, SECTIONS, meanings

WIDTH = 100
"""Characters in a line of comment."""

_HEAD = """\
What legodnn-build makes a bundle from: replace what is behind the equals signs.
A line with a key that begins with # has the key's default; where there is none, an example, marked as one.
Without model.weights and teacher.train the network keeps the weights that its factory gave it.
"package.module:function" is looked up beside this file first.
"""

_GIVEN = {
    "model.factory": "torchvision:resnet18",
    "model.input": [1, 3, 224, 224],
    "data.train": "my_data:train_loader",
    "data.test": "my_data:test_loader",
}
"""Keys that a recipe needs."""

_ARGUMENTS = ["# The factory's arguments, by position and by name.", "# args = []", "# kwargs = {}"]

_EXAMPLES = {
    "model.weights": "resnet18.pt",
    "teacher.train": "legodnn.builder.teach.classification:train",
    "bundle.labels": ["cat", "dog"],
    "bundle.mean": [0.485, 0.456, 0.406],
    "bundle.std": [0.229, 0.224, 0.225],
    "bundle.layout": "NCHW",
    "bundle.skeleton": [[0, 1], [0, 2]],
    "blocks.whole": ["layer1.0"],
    "blocks.dense": ["layer2.0.conv1"],
    "blocks.boundaries": ["layer3"],
}
"""Of keys that have no default, or an empty one."""


def template() -> str:
    """The text of a recipe that can be planned as it is."""
    lines = [*_comment(_HEAD), "", *_comment("What makes the manager: how the network is run and evaluated.")]
    lines.append(f"# manager = {json.dumps(DEFAULT_MANAGER)}")
    for name, section in SECTIONS.items():
        lines += ["", f"[{name}]"]
        means = meanings(section)
        for field in fields(section):
            key = f"{name}.{field.name}"
            lines += _comment(means[field.name])
            if key in _GIVEN:
                lines.append(f"{field.name} = {json.dumps(_GIVEN[key])}")
                lines += _ARGUMENTS if key == "model.factory" else []
            else:
                default = None if field.default is MISSING else field.default
                example = "  # an example" if key in _EXAMPLES else ""
                lines.append(f"# {field.name} = {json.dumps(_EXAMPLES.get(key, default))}{example}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.splitlines() for line in textwrap.wrap(part, WIDTH)]
