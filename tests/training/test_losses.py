"""The losses, against numbers worked out by hand; the penalties, against functions whose derivatives are known."""

from __future__ import annotations

import math

import pytest
import torch

from installation.training.losses import (
    difference_penalty,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    path_lengths,
    path_penalty,
)

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_relativistic_losses_compare_each_pair() -> None:
    critic = (softplus(0.5 - 2.0) + softplus(1.0 + 1.0)) / 2
    generator = (softplus(2.0 - 0.5) + softplus(-1.0 - 1.0)) / 2
    assert discriminator_loss("rp", REAL, FAKE).item() == pytest.approx(critic, rel=1e-6)
    assert generator_loss("rp", FAKE, REAL).item() == pytest.approx(generator, rel=1e-6)


def test_non_saturating_losses_judge_each_picture_alone() -> None:
    critic = (softplus(0.5) + softplus(1.0)) / 2 + (softplus(-2.0) + softplus(1.0)) / 2
    assert discriminator_loss("ns", REAL, FAKE).item() == pytest.approx(critic, rel=1e-6)
    assert generator_loss("ns", FAKE, None).item() == pytest.approx((softplus(-0.5) + softplus(-1.0)) / 2, rel=1e-6)


def test_a_discriminator_that_knows_nothing_has_the_loss_of_a_coin() -> None:
    zero = torch.zeros(3)
    assert discriminator_loss("rp", zero, zero).item() == pytest.approx(math.log(2))
    assert discriminator_loss("ns", zero, zero).item() == pytest.approx(2 * math.log(2))


def test_the_relativistic_loss_refuses_to_do_without_real_pictures() -> None:
    with pytest.raises(ValueError, match="real"):
        generator_loss("rp", FAKE, None)


def test_half_precision_logits_give_a_full_precision_loss() -> None:
    assert discriminator_loss("rp", REAL.bfloat16(), FAKE.bfloat16()).dtype == torch.float32


def test_the_gradient_penalty_of_a_linear_critic_is_its_slope_squared() -> None:
    slope = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    img = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (img * slope).sum(dim=(1, 2, 3))
    assert gradient_penalty(logits, img).item() == pytest.approx(slope.square().sum().item(), rel=1e-5)


def test_the_gradient_penalty_agrees_with_finite_differences_in_its_value_and_its_gradient() -> None:
    """critic: sum of tanh(a x): neither linear nor quadratic, with one parameter."""
    img = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).float()

    def penalty(a: torch.Tensor) -> torch.Tensor:
        x = img.clone().requires_grad_()
        return gradient_penalty(torch.tanh(a * x).sum(dim=(1, 2, 3)), x)

    a = torch.tensor(0.7, requires_grad=True)
    x, step = img.double(), 1e-6
    slopes = (torch.tanh(0.7 * (x + step)) - torch.tanh(0.7 * (x - step))) / (2 * step)
    assert penalty(a).item() == pytest.approx(slopes.square().flatten(1).sum(1).mean().item(), rel=1e-4)
    penalty(a).backward()
    numeric = (penalty(torch.tensor(0.71)) - penalty(torch.tensor(0.69))) / 0.02
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(numeric.item(), rel=1e-2)


def test_the_difference_penalty_tends_to_the_gradient_penalty() -> None:
    rng = torch.Generator().manual_seed(2)
    slope = torch.randn(3, 8, 8, generator=rng)
    img = torch.randn(4000, 3, 8, 8, generator=rng)
    direction = torch.randn(img.shape, generator=rng)

    def critic(x: torch.Tensor) -> torch.Tensor:
        return (x * slope).sum(dim=(1, 2, 3))

    estimate = difference_penalty(critic(img), critic(img + 0.01 * direction), 0.01).item()
    assert estimate == pytest.approx(slope.square().sum().item(), rel=0.1)


def test_path_lengths_of_a_linear_generator_are_its_jacobian() -> None:
    """img = A ws: then |A^T y| is known for every y."""
    rng = torch.Generator().manual_seed(3)
    matrix = torch.randn(3 * 4 * 4, 6, generator=rng)
    ws = torch.randn(5, 2, 6, generator=rng, requires_grad=True)
    img = (ws.mean(dim=1) @ matrix.T).reshape(5, 3, 4, 4)
    noise = torch.randn(img.shape, generator=rng)
    one_layer = (noise.reshape(5, -1) / 4) @ matrix / 2
    assert torch.allclose(path_lengths(img, ws, noise), one_layer.norm(dim=1), rtol=1e-4)


def test_the_path_penalty_pulls_towards_a_running_mean() -> None:
    penalty, mean = path_penalty(torch.tensor([1.0, 3.0]), torch.tensor(0.0), decay=0.5)
    assert mean.item() == pytest.approx(1.0)
    assert penalty.item() == pytest.approx((0.0 + 4.0) / 2)
