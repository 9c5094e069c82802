"""The contact sheet: rows are axes, the middle column is the portrait itself, the picture of a family's style weights holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import ModelError
from installation.models import axes, checkpoint, random_weights
from installation.models.lucidrains import LucidrainsStyleGAN2
from installation.models.network import Generator
from installation.render import axes_sheet
from installation.show.config import Axis


def lucidrains(seed: int) -> LucidrainsStyleGAN2:
    network = LucidrainsStyleGAN2(z_dim=16, channels=[12, 8, 8])
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.normal_(0, 0.2, generator=rng)
    network.requires_grad_(False).eval().prepare()
    return network


FAMILIES = {
    "lucidrains": lucidrains,
    "stylegan2": random_weights.stylegan2,
    "stylegan3": random_weights.stylegan3,
    "mobilestylegan": random_weights.mobilestylegan,
}


def axes_of(source: str, count: int) -> list[Axis]:
    return [Axis.model_validate({"name": f"{source}{i}", "source": source, "index": i}) for i in range(count)]


@pytest.mark.parametrize("source", ["pca", "sefa"])
def test_each_row_moves_the_portrait_and_no_column_zero_does(tmp_path: Path, source):
    network = random_weights.stylegan2(1)
    file = tmp_path / "faces.safetensors"
    checkpoint.save(file, network.state_dict(), checkpoint.describe(network, name="faces"))
    frame = axes_sheet.draw(file, axes_sheet.Sheet(axes_of(source, 3), seed=4, side=32)).astype(int)
    assert frame.shape == (28 + 3 * 36, 56 + 7 * 36, 4)
    pictures = [[frame[28 + 36 * y : 60 + 36 * y, 56 + 36 * x : 88 + 36 * x] for x in range(7)] for y in range(3)]
    assert np.array_equal(pictures[0][3], pictures[1][3])
    for row in pictures:
        away = [np.abs(picture - row[3]).mean() for picture in row]
        assert away[0] > away[2] > 0
        assert away[6] > away[4] > 0


def test_an_upscaler_has_no_axes(tmp_path: Path):
    file = tmp_path / "x2.safetensors"
    network = random_weights.srvgg(1)
    checkpoint.save(file, network.state_dict(), checkpoint.describe(network, name="x2"))
    with pytest.raises(ModelError, match="enlarges pictures"):
        axes_sheet.draw(file, axes_sheet.Sheet(axes_of("pca", 1)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_with_a_w_tells_its_style_weights(family):
    """By experiment: a layer answers to w along its strongest SeFa direction, more than along one it does not listen to."""
    network: Generator = FAMILIES[family](3)
    styles = network.style_weights()
    assert len(styles) == network.num_ws
    ws = network.mapping(torch.randn(1, network.z_dim, generator=torch.Generator().manual_seed(1))).clone()
    plain = network.synthesis(ws)
    for layer, weights in enumerate(styles):
        assert all(weight.shape[1] == network.w_dim for weight in weights)
        moved = ws.clone()
        moved[0, layer] += 2 * axes.sefa(network, (layer, layer))[0]
        assert (network.synthesis(moved) - plain).abs().max() > 1e-6
