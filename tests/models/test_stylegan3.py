"""The StyleGAN3 generator: fast path against its slow twin, against the original's pictures, motion, the layer table, precision."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models import checkpoint, random_weights, stylegan2_reference, stylegan3, stylegan3_reference
from installation.models.importers.inert import module_tensors
from installation.models.importers.safe_pickle import read_pickle
from installation.models.network import restore
from installation.models.stylegan3 import StyleGAN3
from installation.models.stylegan3_plan import Bands, plan
from installation.models.transform import transform

R_CONFIG = {"kernel": 1, "radial": True}


def _latents(network: StyleGAN3, n: int = 2) -> Tensor:
    return torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(1))


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / (b.max() - b.min()))


@pytest.mark.parametrize(
    "config",
    [
        {},
        R_CONFIG,
        {"resolution": 64, "channels": [12, 10, 10, 10, 8, 8, 8, 6, 6, 6, 4, 4, 4, 4]},
        {"bands": {"margin": 4, "critical": 1, "taps": 4}},
        {"kernel": 1, "bands": {"oversampling": 1}},
    ],
    ids=["T", "R", "64 px, 14 layers", "other bands", "no oversampling"],
)
def test_the_fast_path_gives_what_the_equations_give(config: dict) -> None:
    network = random_weights.stylegan3(**config)
    ws = network.mapping(_latents(network))
    moved = transform(0.1, -0.2, 0.07)
    as_on_cuda = copy.deepcopy(network)
    as_on_cuda.synthesis.prepare(torch.float32, torch.channels_last, products=True)
    for placed in (network, as_on_cuda, network.place("cpu")):  # plain memory format, then channels last
        assert _relative(placed.synthesis(ws), stylegan3_reference.synthesis(placed, ws)) < 1e-5
        assert _relative(placed.synthesis(ws, moved), stylegan3_reference.synthesis(placed, ws, moved)) < 1e-5


def test_filters_take_a_few_channels_at_a_time_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_weights.stylegan3(**R_CONFIG)
    network.synthesis.prepare(torch.float32, torch.channels_last, products=True)
    ws = network.mapping(_latents(network))
    whole = network.synthesis(ws)
    monkeypatch.setattr(stylegan3, "MOST_BETWEEN", 100_000)
    assert _relative(network.synthesis(ws), whole) < 1e-5


@pytest.mark.parametrize("name", ["sg3t", "sg3r"])
def test_the_pictures_are_those_of_the_original_code(name: str, shared_dir: Path) -> None:
    folder = shared_dir / "fixtures" / "checkpoints"
    tensors = module_tensors(read_pickle(folder / f"{name}.pkl")["G_ema"], where=name)
    with torch.device("meta"):
        network = StyleGAN3(**StyleGAN3.config_of(tensors))
    network = restore(network, tensors).place("cpu")
    with np.load(folder / f"{name}_expected.npz") as file:
        expected = {key: torch.from_numpy(file[key]) for key in file.files}
    ws = network.truncate(network.mapping(expected["z"]), expected["psi"])
    assert _relative(ws, expected["ws"]) < 1e-5
    assert _relative(network.synthesis(ws), expected["img"]) < 1e-4
    assert _relative(stylegan3_reference.synthesis(network, ws[:1]), expected["img"][:1]) < 1e-4


def test_the_input_moves_as_the_user_says() -> None:
    """Waves at places moved to the right by two samples are the waves two columns further on."""
    network = random_weights.stylegan3(resolution=32)
    waves, w = network.synthesis.input, network.mapping(_latents(network, 1))[:, 0]
    still, moved = waves(w, None), waves(w, transform(2 / waves.layer.rate))
    own = still[..., :-2]
    # The network's own turn lies outside the user's motion, so a motion of the picture is one of the samples whatever w says.
    assert _relative(moved[..., 2:], own) < 1e-4


def test_a_quarter_turn_turns_the_input() -> None:
    network = random_weights.stylegan3(resolution=32)
    waves, w = network.synthesis.input, network.mapping(_latents(network, 1))[:, 0]
    assert _relative(waves(w, transform(turn=0.25)), waves(w, None).rot90(-1, (2, 3))) < 1e-4


def test_each_picture_of_a_batch_may_have_its_own_transform() -> None:
    network = random_weights.stylegan3()
    ws = network.mapping(_latents(network))
    both = network.synthesis(ws, transform(torch.tensor([0.0, 0.3]), 0.0, 0.0))
    assert _relative(both[:1], network.synthesis(ws[:1])) < 1e-5
    assert _relative(both[1:], network.synthesis(ws[1:], transform(0.3))) < 1e-5


def test_a_conditional_network_takes_a_class() -> None:
    network = random_weights.stylegan3(c_dim=3)
    z, classes = _latents(network, 3), torch.eye(3)
    ws = network.mapping(z, classes)
    # The mapping is StyleGAN2's.
    assert torch.allclose(network.mapping(z[:1]), ws[:1], atol=1e-5)
    stored = network.state_dict()
    assert not torch.allclose(ws[1], network.mapping(z)[1])
    twin = type("Twin", (), {"state_dict": lambda self: stored, "config": network.config, "num_ws": network.num_ws})()
    assert torch.allclose(ws, stylegan2_reference.mapping(twin, z, classes), atol=1e-5)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("resolution", "channels", "config", "expected"),
    [
        (
            1024,
            [512] * 7 + [323, 203, 128, 81, 51, 32, 32],
            {"kernel": 3, "radial": False},
            (
                "L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 L8_276_203 L9_532_128 L10_1044_81"
                " L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3"
            ),
        ),
        (
            256,
            [1024] * 9 + [724, 512, 362, 256, 256],
            R_CONFIG,
            (
                "L0_36_1024 L1_36_1024 L2_36_1024 L3_52_1024 L4_52_1024 L5_84_1024 L6_84_1024 L7_148_1024 L8_148_1024 L9_148_724"
                " L10_276_512 L11_276_362 L12_276_256 L13_256_256 L14_256_3"
            ),
        ),
    ],
)
def test_layers_have_the_names_of_the_published_networks(
    resolution: int, channels: list[int], config: dict, expected: str
) -> None:
    layers = plan(resolution, channels, bands=Bands(), **config)
    assert [layer.name for layer in layers] == expected.split()
    if resolution == 1024:
        assert [layer.up for layer in layers] == [2, 2, 4, 2, 4, 4, 2, 4, 2, 4, 4, 2, 2, 2, 1]
        assert [layer.down for layer in layers] == [2] * 14 + [1]
    else:
        assert [i for i, layer in enumerate(layers) if layer.radial] == list(range(12))


@pytest.mark.parametrize("config", [{}, R_CONFIG | {"c_dim": 2}, {"mapping_layers": 3, "mapping_width": 20}])
def test_the_config_can_be_read_off_the_names_and_shapes(config: dict) -> None:
    network = random_weights.stylegan3(**config)
    found = StyleGAN3(**StyleGAN3.config_of(network.state_dict())).config
    assert found == network.config


def test_half_precision_stays_close_and_finite_for_large_weights() -> None:
    network = random_weights.stylegan3(resolution=64, channels=[12] * 10 + [8, 6, 4, 4])
    for name, tensor in network.state_dict().items():
        if name.endswith("_12.weight"):
            tensor.mul_(3000)
    network.prepare()
    ws = network.mapping(_latents(network))
    exact = stylegan3_reference.synthesis(network, ws)
    half = network.place("cpu", torch.float16).synthesis(ws)
    assert half.dtype == torch.float32
    assert _relative(half, exact) < 1e-2
    layers = network.synthesis.layers
    rates = [layer.plan.rate for layer in layers]
    halves = {rate for rate, layer in zip(rates, layers, strict=True) if layer.compute == torch.float16}
    assert halves == set(sorted(set(rates))[-4:]), "the upper four octaves"


def test_a_checkpoint_gives_the_network_back(tmp_path: Path) -> None:
    network = random_weights.stylegan3(c_dim=2)
    path = tmp_path / "waves.safetensors"
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name="waves"))
    loaded = checkpoint.load(path)
    assert isinstance(loaded, StyleGAN3)
    assert torch.equal(loaded(_latents(network)), network(_latents(network)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"z_dim": 0}, {"channels": [8]}, {"kernel": 2}, {"resolution": 24}, {"resolution": "64"}, {"radial": 1},
        {"bands": {"margin": -1}}, {"bands": {"taps": 1.5}}, {"bands": {"stopband": float("nan")}}, {"bands": {"other": 1}},
        {"bands": [1]},
    ],
)  # fmt: skip
def test_a_config_out_of_bounds_is_refused(wrong: dict) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        random_weights.stylegan3(**wrong)


def test_names_that_are_no_stylegan3_are_refused() -> None:
    with pytest.raises(ModelError, match="not a StyleGAN3"):
        StyleGAN3.config_of({"mapping.w_avg": torch.zeros(4)})
