"""The plug between LegoDNN and a kind of network: six questions about running and judging it."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from legodnn.builder.detectors import is_detector, plain_detector
from legodnn.builder.graph import resources
from legodnn.builder.managers.loss import relative_error
from legodnn.shared.bundle.manifest import AnswerSpec

Device = str | torch.device


class AbstractModelManager(ABC):
    """Answers what the builder must know about a kind of network.

    The builder hands in networks it has put together itself: they take what the teacher takes and return what it
    returns. A manager may call one any number of times but must feed it whole batches, in the loader's order.
    """

    task = "vision"
    metric = "accuracy"

    @abstractmethod
    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` once on the inputs in a batch of the training loader and return its output."""

    @abstractmethod
    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The accuracy of ``model`` over a loader, as a fraction in [0, 1]; more is better."""

    def get_trivial_acc(self, test_loader: Iterable[Any]) -> float | None:
        """What `get_model_acc` would say over a loader of an answer that never looks at the input, which is what a
        network must be better than to mean anything; None, as by default, where that is not known."""
        return None

    def network_to_cut(self, teacher_model: nn.Module, model_input_size: Sequence[int]) -> nn.Module:
        """The network that is traced and cut in the teacher's place: by default the teacher itself.

        For a teacher whose top level cannot be followed (a detector, say) a manager gives one made of its parts: the
        layers called in an order that does not depend on the data, and what does depend on it in modules of the kind
        `legodnn.builder.graph.tracing.opaque.Opaque`. torchvision's detectors come as `plain_detector` makes them.
        """
        if is_detector(teacher_model):
            return plain_detector(teacher_model, *model_input_size[-2:])
        return teacher_model

    def imitation_error(self, answer: Tensor, wanted: Tensor) -> Tensor:
        """What a descendant block learns to make small: a number, 0 for a perfect imitation of the block's output and 1
        for one no better than a constant. By default the squared error relative to the output's variance."""
        return relative_error(answer, wanted)

    def answer_spec(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> AnswerSpec:
        """What a bundle says about the network's answers beside their labels; by default nothing."""
        return AnswerSpec()

    def dummy_forward_to_gen_mid_data(self, model: nn.Module, model_input_size: Sequence[int], device: Device) -> Any:
        """Run ``model`` once on random numbers of the given shape and return its output."""
        with torch.no_grad():
            return model(torch.rand(tuple(model_input_size), device=device))

    def get_model_size(self, model: nn.Module) -> int:
        """Bytes of the model's parameters and buffers."""
        return resources.weight_bytes(model)

    def get_model_flops_and_param(
        self, model: nn.Module, model_input_size: Sequence[int], device: Device = "cpu"
    ) -> tuple[int, int]:
        """Floating-point operations of one inference, and the number of parameters."""
        flops = resources.count_flops(model, [torch.rand(tuple(model_input_size), device=device)])
        return flops, sum(p.numel() for p in model.parameters())

    def get_model_latency(
        self, model: nn.Module, sample_num: int, model_input_size: Sequence[int], device: Device
    ) -> float:
        """The median time of one inference over ``sample_num`` runs on random numbers, in seconds."""
        inputs = torch.rand(tuple(model_input_size), device=device)
        seconds = []
        with torch.no_grad():
            for _ in range(sample_num + 1):
                started = time.perf_counter()
                model(inputs)
                if torch.device(device).type == "cuda":
                    torch.cuda.synchronize(device)
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[1:])
