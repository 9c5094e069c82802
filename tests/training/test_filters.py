"""The low-pass filter that is its derivative's derivative."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from installation.models.stylegan2_layers import blur_kernel
from installation.training.base.generator import doubled, products
from installation.training.filters import halve

CPU = torch.device("cpu")


def test_halving_is_the_plain_convolution_and_keeps_a_flat_picture() -> None:
    x = torch.randn(2, 5, 12, 8)
    fir = blur_kernel(CPU)
    assert torch.allclose(halve(x, fir), F.conv2d(x, fir.expand(5, 1, 4, 4), stride=2, padding=1, groups=5), atol=1e-6)
    assert torch.allclose(halve(torch.ones(1, 1, 8, 8), fir)[:, :, 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


def test_the_kernel_with_an_empty_row_and_column_is_the_same_filter() -> None:
    x, fir = torch.randn(2, 3, 8, 8), blur_kernel(CPU)
    wide = F.pad(fir, (1, 0, 1, 0)).expand(3, 1, 5, 5)
    assert torch.allclose(F.conv2d(x, wide, stride=2, padding=2, groups=3), halve(x, fir), atol=1e-6)
    y = torch.randn(2, 3, 4, 4)
    spread = F.conv_transpose2d(y, fir.expand(3, 1, 4, 4), stride=2, padding=1, groups=3)
    again = F.conv_transpose2d(y, wide, stride=2, padding=2, output_padding=1, groups=3)
    assert torch.allclose(spread, again, atol=1e-6)


def test_it_can_be_derived_twice() -> None:
    x = torch.randn(1, 2, 6, 4, dtype=torch.float64, requires_grad=True)
    fir = blur_kernel(CPU).double()
    assert torch.autograd.gradcheck(lambda x: halve(x, fir), x)
    assert torch.autograd.gradgradcheck(lambda x: halve(x, fir).square().sum(), x)


def test_a_transposed_convolution_and_the_filter_are_one_convolution_by_their_product() -> None:
    x, weight, fir = torch.randn(2, 3, 5, 4), torch.randn(4, 3, 3, 3), blur_kernel(CPU, gain=4.0)
    kernel = products(weight.transpose(0, 1), fir)
    assert kernel.shape == (3, 4, 6, 6)
    assert torch.allclose(F.conv_transpose2d(x, kernel, stride=2, padding=2), doubled(x, weight, fir), atol=1e-4)
