"""The generator in training and the one on the wall make the same picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from installation.models import random_weights
from installation.models.stylegan2 import StyleGAN2
from installation.training.base.config import BaseConfig, resolve
from installation.training.base.generator import Generator, exported, exported_config


@pytest.fixture
def config(small: dict[str, str]) -> BaseConfig:
    return resolve("tiny", {**small, "channels": "16,16,12,8"})


@pytest.fixture
def generator(config: BaseConfig) -> Generator:
    torch.manual_seed(0)
    network = Generator(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    network.centre()
    return network


def test_both_have_the_same_tensors(config: BaseConfig, generator: Generator) -> None:
    wall = StyleGAN2(**exported_config(config))
    shapes = {name: tensor.shape for name, tensor in wall.state_dict().items()}
    assert {name: tensor.shape for name, tensor in generator.state_dict().items()} == shapes


@pytest.mark.parametrize("psi", [1.0, 0.5])
def test_both_make_the_same_picture(config: BaseConfig, generator: Generator, psi: float) -> None:
    z = torch.randn(3, config.z_dim, generator=torch.Generator().manual_seed(1))
    wall = exported(generator, config)
    with torch.no_grad():
        centre = generator.mapping.w_avg
        w = centre + psi * (generator.mapping(z) - centre)
        mine = generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1))
        assert torch.allclose(mine, wall(z, psi), atol=1e-4)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_it_runs_weights_of_the_wall_in_either_layout(config: BaseConfig, layout: torch.memory_format) -> None:
    wall = random_weights.stylegan2(3, **{**exported_config(config), "conv_clamp": None})
    mine = Generator(config, layout=layout)
    mine.take(wall.state_dict())
    z = torch.randn(2, config.z_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = wall.synthesis(wall.mapping(z))
        assert torch.allclose(mine(z), wanted, atol=1e-3 * wanted.abs().max().item())


def test_every_parameter_gets_a_gradient(config: BaseConfig, generator: Generator) -> None:
    generator(torch.randn(2, config.z_dim)).square().sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_the_gradient_is_right(config: BaseConfig) -> None:
    """In float64, along one direction through all weights at once."""
    torch.manual_seed(0)
    network = Generator(replace(config, channels=(4, 4), size=8))
    z, step = torch.randn(2, config.z_dim), 1e-3
    network(z).square().sum().backward()
    parameters = list(network.parameters())
    direction = [torch.randn_like(p) for p in parameters]
    told = sum((p.grad * d).sum().item() for p, d in zip(parameters, direction, strict=True) if p.grad is not None)
    with torch.no_grad():
        values = []
        for sign in (1, -2):
            for p, d in zip(parameters, direction, strict=True):
                p.add_(sign * step * d)
            values.append(network(z).double().square().sum().item())
    assert told == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-2)


def test_half_precision_stays_near_full(config: BaseConfig) -> None:
    torch.manual_seed(0)
    big = replace(config, channels=(16, 16, 16, 16, 16), size=64)
    full = Generator(big)
    half = Generator(big, half=torch.bfloat16)
    half.load_state_dict(full.state_dict())
    z = torch.randn(2, config.z_dim)
    with torch.no_grad():
        a, b = full(z), half(z)
    assert b.dtype == torch.float32
    assert (a - b).abs().mean() < 0.02 * a.abs().mean()


def test_the_centre_is_the_mean_of_w(config: BaseConfig, generator: Generator) -> None:
    z = torch.randn(20_000, config.z_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        w = generator.mapping(z)
    assert ((generator.mapping.w_avg - w.mean(0)).abs() / w.std(0)).max() < 0.1
