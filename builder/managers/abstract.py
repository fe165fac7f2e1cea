"""The interface between LegoDNN and a kind of network: how it is run and evaluated."""

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
from legodnn.builder.graph.tracing.state import restored
from legodnn.builder.managers.loss import relative_error
from legodnn.builder.workdir.sources import sources_of
from legodnn.shared.bundle.manifest import AnswerSpec

Device = str | torch.device


def manager_code(manager: AbstractModelManager) -> dict[str, str]:
    """Digests of the source code of a manager's class, where that is a user's own, by name."""
    return {f"code of the manager: {name}": digest for name, digest in sources_of(type(manager)).items()}


class AbstractModelManager(ABC):
    """How a kind of network is run and evaluated.

    The networks that its methods get are compositions: they take what the teacher takes and return what it returns. A
    manager may call one any number of times but must pass it whole batches, in the loader's order. A manager leaves the
    teacher it is given as it is: mode, weights, buffers, hooks.
    """

    task = "vision"
    """The application's name, in bundles and reports."""

    metric = "accuracy"
    """The name of what `get_model_acc` returns; it is shown wherever the figure is."""

    @abstractmethod
    def forward_to_gen_mid_data(self, model: nn.Module, batch_data: Any, device: Device) -> Any:
        """Run ``model`` once on the inputs in a batch of the training loader and return its output."""

    @abstractmethod
    def get_model_acc(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> float:
        """The accuracy of ``model`` over a loader, as a fraction in [0, 1]; more is better."""

    def get_trivial_acc(self, test_loader: Iterable[Any]) -> float | None:
        """The chance level: what `get_model_acc` would return over a loader for the best output that ignores the input;
        None, as by default, where it is not known."""
        return None

    def network_to_cut(self, teacher_model: nn.Module, model_input_size: Sequence[int]) -> nn.Module:
        """The network that is traced and cut in the teacher's place: by default the teacher itself.

        For a teacher whose top level cannot be traced (a detector, say) a manager returns a network of its parts:
        layers called in an order that does not depend on the data, and `legodnn.builder.graph.tracing.opaque.Opaque`
        modules for what does. For torchvision's detectors it is that of `plain_detector`.
        """
        if is_detector(teacher_model):
            return plain_detector(teacher_model, *model_input_size[-2:])
        return teacher_model

    def imitation_error(self, answer: Tensor, wanted: Tensor) -> Tensor:
        """The loss of a descendant block, a tensor of no dimensions: 0 for a perfect imitation of the block's output
        ``wanted``, 1 for one no better than a constant. By default the squared error relative to its variance."""
        return relative_error(answer, wanted)

    def answer_spec(self, model: nn.Module, test_loader: Iterable[Any], device: Device) -> AnswerSpec:
        """How a device is to read the network's outputs, beside their labels; by default nothing."""
        return AnswerSpec()

    def dummy_forward_to_gen_mid_data(self, model: nn.Module, model_input_size: Sequence[int], device: Device) -> Any:
        """Run ``model`` once on uniform random numbers of the given shape and return its output; the model is left as
        it was."""
        with torch.no_grad(), restored(model):
            return model(torch.rand(tuple(model_input_size), device=device))

    def get_model_size(self, model: nn.Module) -> int:
        """Bytes of the model's parameters and buffers."""
        return resources.weight_bytes(model)

    def get_model_flops_and_param(
        self, model: nn.Module, model_input_size: Sequence[int], device: Device = "cpu"
    ) -> tuple[int, int]:
        """Floating-point operations of one inference, and the number of parameters."""
        flops = resources.count_flops(model, [torch.rand(tuple(model_input_size), device=device)])
        return flops, resources.parameter_count(model)

    def get_model_latency(
        self, model: nn.Module, sample_num: int, model_input_size: Sequence[int], device: Device
    ) -> float:
        """The median time of one inference over ``sample_num`` runs on random numbers, in seconds; the model is left as
        it was."""
        inputs = torch.rand(tuple(model_input_size), device=device)
        seconds = []
        with torch.no_grad(), restored(model):
            for _ in range(sample_num + 1):
                started = time.perf_counter()
                model(inputs)
                if torch.device(device).type == "cuda":
                    torch.cuda.synchronize(device)
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[1:])
