"""The compact upscaler: fast path against the published network, both ranges of values, borders, receptive field."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models import random_weights, tiles
from installation.models.receptive_field import trace
from installation.models.srvgg import SRVGG


def _img(height: int = 13, width: int = 9, n: int = 2) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.mark.parametrize("unit_range", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_fast_path_gives_what_the_published_network_gives(
    scale: int, unit_range: bool, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SRVGG, "cpu_channels_last", channels_last)
    network = random_weights.srvgg(scale=scale, unit_range=unit_range).place("cpu")
    out = network(_img())
    assert out.shape == (2, 3, 13 * scale, 9 * scale)
    assert (out - network.forward_slow(_img())).abs().max() < 1e-5


@pytest.mark.parametrize("unit_range", [False, True])
@pytest.mark.parametrize(("drawn", "scale"), [(2, 1), (3, 2), (4, 2), (4, 3), (8, 5)])
def test_a_network_that_draws_larger_is_shrunk_as_torch_resizes(drawn: int, scale: int, unit_range: bool) -> None:
    network = random_weights.srvgg(scale=scale, drawn_scale=drawn, unit_range=unit_range).place("cpu")
    out = network(_img())
    assert out.shape == (2, 3, 13 * scale, 9 * scale)
    assert (out - network.forward_slow(_img())).abs().max() < 1e-5


@pytest.mark.parametrize("drawn", [2, 4])
def test_tiles_equal_the_whole(drawn: int) -> None:
    network = random_weights.srvgg(scale=2, drawn_scale=drawn)
    img = _img(41, 33, 1)
    assert (tiles.enlarge(network, img, 6) - network(img)).abs().max() < 1e-6


def test_with_zero_weights_it_is_nearest_enlargement() -> None:
    network = random_weights.srvgg(scale=3, unit_range=True)
    for tensor in network.state_dict().values():
        tensor.zero_()
    network.prepare()
    assert torch.equal(network(_img()), _img().repeat_interleave(3, dim=2).repeat_interleave(3, dim=3))


@pytest.mark.parametrize("drawn", [2, 3, 4])
def test_the_stated_receptive_field_is_the_true_one(drawn: int) -> None:
    network = random_weights.srvgg(num_conv=3, drawn_scale=drawn)
    img = _img(41, 41, 1)
    other = img.clone()
    other[:, :, 20, 20] += 1
    reach = network.config["num_conv"] + 2 + (drawn > network.scale)
    assert network.receptive_field == reach
    changed = (network(img) - network(other)).abs().amax(dim=(0, 1)).nonzero() // network.scale
    assert (changed.min(), changed.max()) == (20 - reach, 20 + reach)


def test_tracing_the_operations_finds_the_same_receptive_field() -> None:
    for num_conv in (0, 1, 5):
        network = SRVGG(num_feat=4, num_conv=num_conv, scale=2)
        body = torch.nn.Sequential(*network.body, torch.nn.PixelShuffle(2))
        assert trace(body, 64) == network.receptive_field


def test_the_input_is_left_alone() -> None:
    network, img = random_weights.srvgg(unit_range=True), _img()
    network(img)
    assert torch.equal(img, _img())


def test_half_precision_stays_close() -> None:
    network = random_weights.srvgg(unit_range=True, scale=4)
    exact = network.forward_slow(_img())
    half = network.place("cpu", torch.float16)(_img())
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 1e-2


@pytest.mark.parametrize("config", [{}, {"scale": 4, "num_conv": 0, "num_feat": 5}, {"scale": 3, "unit_range": True}])
def test_the_config_can_be_read_off_the_shapes(config: dict) -> None:
    network = random_weights.srvgg(**config)
    assert SRVGG.config_of(network.state_dict(), unit_range=network.unit_range) == network.config


def test_the_config_of_a_network_that_shrinks_needs_its_scale() -> None:
    network = random_weights.srvgg(scale=3, drawn_scale=4)
    assert SRVGG.config_of(network.state_dict(), unit_range=False, scale=3) == network.config
    with pytest.raises(ModelError, match="drawn_scale"):
        random_weights.srvgg(scale=4, drawn_scale=3)


def test_shapes_that_are_no_srvgg_are_refused() -> None:
    with pytest.raises(ModelError, match=r"body\.0"):
        SRVGG.config_of({"conv_first.weight": torch.zeros(1)}, unit_range=True)
