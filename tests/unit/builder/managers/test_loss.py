"""The loss of descendant blocks is torch's formula to the bit, and takes less memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from legodnn.builder.managers.loss import relative_error


def formula(answer, wanted):
    return (answer - wanted).square().mean() / wanted.var(correction=0)


def pair(layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(5, 7, 9, 11, generator=generator).contiguous(memory_format=layout) for _ in range(2)]
    return drawn[0].requires_grad_(True), drawn[1]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_relative_error_and_its_gradient_are_those_of_the_formula(layout):
    answer, wanted = pair(layout)
    found, expected = relative_error(answer, wanted), formula(answer, wanted)
    assert torch.equal(found, expected)
    (mine,), (theirs,) = torch.autograd.grad(found, answer), torch.autograd.grad(expected, answer)
    assert torch.equal(mine, theirs)
    assert mine.stride() == theirs.stride()  # by which sums over it have one order


def test_both_tensors_have_a_gradient():
    answer, wanted = (x.detach().double().requires_grad_(True) for x in pair())
    for mine, theirs in zip(
        torch.autograd.grad(relative_error(answer, wanted), (answer, wanted)),
        torch.autograd.grad(formula(answer, wanted), (answer, wanted)),
        strict=True,
    ):
        assert torch.allclose(mine, theirs)


class Made(TorchDispatchMode):
    """Keeps the memory of tensors of one size that operations make, so that none of it is used twice."""

    def __init__(self, size):
        super().__init__()
        self.size, self.memory = size, {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.untyped_storage().nbytes() == 4 * self.size:
            self.memory[made.data_ptr()] = made
        return made


@pytest.mark.parametrize(("error", "tensors"), [(relative_error, 1), (formula, 4)])
def test_the_gradient_takes_the_memory_of_one_tensor(error, tensors):
    answer, wanted = pair()
    found = error(answer, wanted)
    with Made(answer.numel()) as made:
        torch.autograd.grad(found, answer)
    assert len(made.memory) == tensors
