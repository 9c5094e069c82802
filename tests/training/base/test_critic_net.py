"""The critic: shapes, groups, derivatives, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from installation.training.base.config import BaseConfig, resolve
from installation.training.base.critic_net import CriticNet, spread
from installation.training.losses import discriminator_loss, gradient_penalty
from installation.training.optimiser import Adam
from tests.training.base.conftest import discs


@pytest.fixture
def config(small: dict[str, str]) -> BaseConfig:
    return resolve("tiny", small)


@pytest.fixture
def critic(config: BaseConfig) -> CriticNet:
    torch.manual_seed(0)
    return CriticNet(config)


def test_the_spread_is_the_mean_standard_deviation_of_each_group() -> None:
    x = torch.randn(6, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    out = spread(x, 3)
    assert out.shape == (6, 1, 2, 2)
    for rows in (slice(0, 3), slice(3, 6)):
        wanted = x[rows].std(dim=0, correction=0).mean()
        assert torch.allclose(out[rows], wanted.expand(3, 1, 2, 2), atol=1e-4)


def test_groups_do_not_see_each_other(critic: CriticNet) -> None:
    img = torch.randn(8, 3, 32, 32)
    other = img.clone()
    other[4:] = torch.randn(4, 3, 32, 32)
    assert torch.allclose(critic(img, 4)[:4], critic(other, 4)[:4], atol=1e-5)
    assert not torch.allclose(critic(img, 8)[:4], critic(other, 8)[:4], atol=1e-5)


def test_a_real_and_a_generated_half_in_one_call_are_two_calls(critic: CriticNet) -> None:
    real, fake = torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32)
    both = critic(torch.cat([real, fake]), 4)
    assert torch.allclose(both, torch.cat([critic(real, 4), critic(fake, 4)]), atol=1e-5)


def test_logits_of_noise_are_of_size_one(config: BaseConfig) -> None:
    torch.manual_seed(1)
    big = replace(config, size=64, critic_channels=(64, 64, 64, 32, 16))
    logits = torch.stack([CriticNet(big)(torch.randn(16, 3, 64, 64), 4).detach() for _ in range(6)])
    assert 0.1 < logits.square().mean().sqrt() < 3


def test_the_penalty_has_a_gradient_for_every_weight_it_can_move(critic: CriticNet) -> None:
    img = torch.randn(4, 3, 32, 32, requires_grad=True)
    gradient_penalty(critic(img, 4), img).backward()
    for name, parameter in critic.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert bool(parameter.grad.abs().sum() > 0), name


@pytest.mark.parametrize("layer", ["fromrgb", "conv", "fc", "out"])
def test_the_penalty_is_of_degree_two_in_each_layer(critic: CriticNet, layer: str) -> None:
    """Without biases the logits are proportional to each layer's weights, so by Euler's rule <dP/dW, W> = 2 P.

    Exact, unlike finite differences: the slope of a leaky ReLU jumps.
    """
    img = torch.randn(8, 3, 32, 32, requires_grad=True)
    penalty = gradient_penalty(critic(img, 4), img)
    penalty.backward()
    weight = critic.get_parameter(f"{layer}.weight")
    assert weight.grad is not None
    assert (weight.grad * weight).sum().item() == pytest.approx(2 * penalty.item(), rel=1e-3)


def test_it_learns_to_tell_discs_from_noise_in_20_steps(critic: CriticNet) -> None:
    real = torch.from_numpy(np.stack(discs(32, 32))).float() / 127.5 - 1
    rng = torch.Generator().manual_seed(0)
    adam = Adam(dict(critic.named_parameters()))
    losses = []
    for step in range(20):
        fake = torch.randn(8, 3, 32, 32, generator=rng) * 0.5
        adam.zero_grad()
        rows = slice(step % 4 * 8, step % 4 * 8 + 8)
        loss = discriminator_loss("rp", *critic(torch.cat([real[rows], fake]), 4).chunk(2))
        loss.backward()
        adam.step(1e-2)
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
