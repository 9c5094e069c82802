"""The DCGAN generator: batch norm folded against batch norm run, latents, config."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from installation.errors import ModelError
from installation.models import random_weights
from installation.models.dcgan import DCGAN


def _ws(network: DCGAN, n: int = 2) -> Tensor:
    return network.mapping(torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("config", [{}, {"channels": [6]}, {"z_dim": 7, "channels": [24, 20, 12, 8]}])
def test_folded_batch_norm_gives_what_batch_norm_gives(config: dict) -> None:
    network = random_weights.dcgan(**config)
    assert (network.synthesis(_ws(network)) - network.synthesis_slow(_ws(network))).abs().max() < 1e-5


def test_the_twin_is_torchs_own_layers() -> None:
    network = random_weights.dcgan(channels=[6, 5])
    weights = network.state_dict()
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate([(16, 6), (6, 5), (5, 3)]):
        conv = nn.ConvTranspose2d(inputs, outputs, 4, 1 if i == 0 else 2, 0 if i == 0 else 1, bias=i == 2)
        conv.load_state_dict({k: weights[f"layers.{i}.conv.{k}"] for k in conv.state_dict()})
        layers.append(conv)
        if i < 2:
            norm = nn.BatchNorm2d(outputs)
            norm.load_state_dict(
                {k: weights[f"layers.{i}.norm.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
            )
            layers += [norm, nn.ReLU()]
    original = nn.Sequential(*layers, nn.Tanh()).eval()
    ws = _ws(network)
    assert torch.allclose(network.synthesis_slow(ws), original(ws[:, 0, :, None, None]), atol=1e-6)


def test_ws_is_z_and_psi_scales_it() -> None:
    network = random_weights.dcgan()
    z = torch.randn(2, network.z_dim)
    assert torch.equal(network.mapping(z)[:, 0], z)
    assert torch.equal(network.truncate(network.mapping(z), torch.tensor(0.5))[:, 0], z * 0.5)


def test_size_doubles_with_every_width() -> None:
    network = random_weights.dcgan(channels=[8, 8, 8, 8])
    assert network.size == 64
    img = network.synthesis(_ws(network, 1))
    assert img.shape == (1, 3, 64, 64)
    assert img.abs().max() <= 1


def test_half_precision_stays_close() -> None:
    network = random_weights.dcgan()
    exact = network.synthesis_slow(_ws(network))
    half = network.place("cpu", torch.float16).synthesis(_ws(network))
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 5e-3


def test_the_config_can_be_read_off_the_shapes() -> None:
    network = random_weights.dcgan(z_dim=9, channels=[12, 8])
    assert DCGAN.config_of(network.state_dict()) == network.config


def test_shapes_that_are_no_dcgan_are_refused() -> None:
    with pytest.raises(ModelError, match=r"layers\.0\.conv\.weight"):
        DCGAN.config_of({"main.0.weight": torch.zeros(1, 1, 4, 4)})
