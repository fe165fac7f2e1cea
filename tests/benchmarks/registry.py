"""The networks of the coverage benchmark: how each is made, and the smallest sensible input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn as nn
from torchvision import models

from legodnn.builder.recipe.load import builtin_recipes, load_recipe
from legodnn.builder.recipe.resolve import build_model

Shape = tuple[int, ...]

_SIZES = {"inception_v3": 299, "vit_h_14": 224}
_VIDEO = {"mvit_v1_b": (16, 224), "mvit_v2_s": (16, 224), "s3d": (16, 224)}
_DETECTORS = {"ssd300_vgg16": (300, 300), "ssdlite320_mobilenet_v3_large": (320, 320)}


@dataclass(frozen=True)
class Network:
    """How a network is made (random weights), and the shapes of its inputs, which are all the same."""

    make: Callable[[], nn.Module]
    inputs: tuple[Shape, ...]

    @property
    def shape(self) -> Shape:
        """The shape of each of the inputs."""
        return self.inputs[0]


def _classifier(name: str) -> Network:
    size = _SIZES.get(name, 224)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return Network(lambda: models.get_model(name, **options), ((1, 3, size, size),))


def _segmentation(name: str) -> Network:
    return Network(lambda: models.get_model(name, weights=None, weights_backbone=None), ((1, 3, 224, 224),))


def _video(name: str) -> Network:
    frames, size = _VIDEO.get(name, (8, 112))
    return Network(lambda: models.get_model(name), ((1, 3, frames, size, size),))


def _flow(name: str) -> Network:
    return Network(lambda: models.get_model(name), ((1, 3, 128, 128), (1, 3, 128, 128)))


def _detector(name: str) -> Network:
    height, width = _DETECTORS.get(name, (224, 288))

    return Network(lambda: models.get_model(name, weights=None, weights_backbone=None), ((1, 3, height, width),))


def _zoo(name: str) -> Network:
    recipe = load_recipe(name)
    return Network(lambda: build_model(recipe), (recipe.model.input,) * recipe.model.inputs)


def _networks() -> dict[str, Network]:
    found = {name: _classifier(name) for name in models.list_models(module=models)}
    for module, kind in (
        (models.segmentation, _segmentation), (models.video, _video), (models.detection, _detector),
        (models.optical_flow, _flow),
    ):  # fmt: skip
        found.update({name: kind(name) for name in models.list_models(module=module)})
    own = [name for name in builtin_recipes() if name not in found and "fashion" not in name]
    return {**found, **{f"zoo/{name}": _zoo(name) for name in own}}


NETWORKS: dict[str, Network] = _networks()
