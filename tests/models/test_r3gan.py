"""The R3GAN generator: fast path against its slow twin, against the original's pictures, classes, names, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models import checkpoint, random_weights
from installation.models.importers.inert import module_tensors
from installation.models.importers.r3gan import rename
from installation.models.importers.safe_pickle import read_pickle
from installation.models.network import restore
from installation.models.r3gan import R3GAN


def _latents(network: R3GAN, n: int = 2) -> Tensor:
    return torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(1))


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / (b.max() - b.min()))


@pytest.mark.parametrize(
    "config",
    [{}, {"c_dim": 3, "embedding": 5}, {"widths": [8], "groups": [1], "blocks": [2]}, {"expansion": 1}],
    ids=["default", "classes", "one stage", "no expansion"],
)
def test_the_fast_path_gives_what_the_equations_give(config: dict) -> None:
    network = random_weights.r3gan(**config)
    ws = network.truncate(network.mapping(_latents(network)), 0.7)
    for placed in (network, network.place("cpu")):
        assert _relative(placed.synthesis(ws), placed.synthesis_slow(ws)) < 1e-5


def test_the_pictures_are_those_of_the_original_code(shared_dir: Path) -> None:
    folder = shared_dir / "fixtures" / "checkpoints"
    tensors = rename(module_tensors(read_pickle(folder / "r3gan.pkl")["G_ema"], where=""), where="")
    with torch.device("meta"):
        network = R3GAN(**R3GAN.config_of(tensors))
    network = restore(network, tensors)
    with np.load(folder / "r3gan_expected.npz") as file:
        z, img = (torch.from_numpy(file[key]) for key in ("z", "img"))
    ws = network.mapping(z)
    assert _relative(network.synthesis(ws), img) < 1e-4
    assert _relative(network.synthesis_slow(ws), img) < 1e-4


def test_a_class_lies_behind_z_and_psi_leaves_it_alone() -> None:
    network = random_weights.r3gan(c_dim=3, embedding=5)
    z, classes = _latents(network, 3), torch.eye(3)
    ws = network.mapping(z, classes)
    assert ws.shape == (3, 1, 21)
    assert torch.equal(network.mapping(z[:1]), ws[:1])
    assert torch.allclose(ws[:, 0, 16:], classes @ network.embed.weight.T, atol=1e-6)
    scaled = network.truncate(ws, torch.tensor(0.5))
    assert torch.equal(scaled[..., :16], ws[..., :16] * 0.5)
    assert torch.equal(scaled[..., 16:], ws[..., 16:])


@pytest.mark.parametrize("config", [{}, {"c_dim": 3, "embedding": 5}, {"expansion": 3, "groups": [2, 2, 2, 2]}])
def test_the_config_can_be_read_off_the_shapes(config: dict) -> None:
    network = random_weights.r3gan(**config)
    assert R3GAN.config_of(network.state_dict()) == network.config


def test_half_precision_stays_close() -> None:
    network = random_weights.r3gan(widths=[16] * 5, groups=[4] * 5, blocks=[2] * 5)
    ws = network.mapping(_latents(network))
    half = network.place("cpu", torch.float16).synthesis(ws)
    assert half.dtype == torch.float32
    assert _relative(half, network.synthesis_slow(ws)) < 3e-2  # bfloat16 has three digits


def test_a_checkpoint_gives_the_network_back(tmp_path: Path) -> None:
    network = random_weights.r3gan()
    path = tmp_path / "blocks.safetensors"
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name="blocks"))
    assert torch.equal(checkpoint.load(path)(_latents(network)), network(_latents(network)))


@pytest.mark.parametrize(
    "wrong",
    [{"z_dim": 0}, {"widths": []}, {"groups": [1]}, {"groups": [5, 4, 3, 2]}, {"blocks": [0, 1, 1, 1]}, {"c_dim": 2}],
)
def test_a_config_out_of_bounds_is_refused(wrong: dict) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        random_weights.r3gan(**wrong)


def test_other_names_are_refused() -> None:
    with pytest.raises(CheckpointError, match="other"):
        rename({"Model.MainLayers.0.Layers.0.other": torch.zeros(1)}, where="")
    with pytest.raises(ModelError, match="not an R3GAN"):
        R3GAN.config_of({"colours.weight": torch.zeros(3, 8, 1, 1)})
