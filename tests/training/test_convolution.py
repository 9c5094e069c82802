"""The convolution whose second derivative costs what its first one costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.training.convolution import convolve


@pytest.mark.parametrize("kernel", [1, 3])
def test_it_is_the_plain_convolution(kernel: int) -> None:
    x, weight, bias = torch.randn(2, 3, 6, 5), torch.randn(4, 3, kernel, kernel), torch.randn(4)
    assert torch.equal(convolve(x, weight, bias), F.conv2d(x, weight, bias, padding=kernel // 2))
    assert torch.equal(convolve(x, weight), F.conv2d(x, weight, padding=kernel // 2))


@pytest.mark.parametrize("kernel", [1, 3])
def test_it_can_be_derived_twice(kernel: int) -> None:
    shapes = ((2, 3, 5, 4), (4, 3, kernel, kernel), (4,))
    tensors = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    assert torch.autograd.gradcheck(convolve, tensors)
    assert torch.autograd.gradgradcheck(convolve, tensors)


def test_a_penalty_on_the_gradient_teaches_the_weights_what_torch_teaches() -> None:
    x, weight, bias = torch.randn(3, 2, 6, 6), torch.randn(4, 2, 3, 3, requires_grad=True), torch.zeros(4)

    def penalised(how: Callable[..., Tensor]) -> Tensor:
        watched = x.clone().requires_grad_()
        y = F.leaky_relu(how(watched, weight, bias), 0.2)
        (gradient,) = torch.autograd.grad(y.square().sum(), watched, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), weight)[0]

    torch.testing.assert_close(penalised(convolve), penalised(lambda *a: F.conv2d(*a, padding=1)), rtol=1e-4, atol=1e-3)
