"""The StyleGAN2 generator: fast path against its slow twin, the twin against a recomputation, shapes, truncation, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.models import random_weights, stylegan2_reference
from installation.models.importers.inert import module_tensors
from installation.models.importers.safe_pickle import read_pickle
from installation.models.network import restore
from installation.models.stylegan2 import StyleGAN2


def _latents(network: StyleGAN2, n: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(n, network.z_dim, generator=torch.Generator().manual_seed(seed))


def _nvidia(path: Path) -> StyleGAN2:
    """The generator in a pickle of NVIDIA's as a network of ours."""
    stored = module_tensors(read_pickle(path)["G_ema"], where=path.name)
    tensors = {name: tensor for name, tensor in stored.items() if not name.endswith("resample_filter")}
    with torch.device("meta"):
        network = StyleGAN2(**StyleGAN2.config_of(tensors, conv_clamp=256.0))
    return restore(network, tensors)


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / (b.max() - b.min()))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"channels": [20, 16, 16, 12, 8], "conv_clamp": None},
        {"channels": [8], "noise": False},
        {"base": [4, 6], "mapping_layers": 3, "mapping_width": 24},
        {"z_dim": 10, "w_dim": 14, "conv_clamp": 0.5},
    ],
    ids=["default", "64 px, no clamp", "one block, no noise", "not square", "clamp that bites"],
)
def test_the_fast_path_gives_what_the_equations_give(config: dict) -> None:
    network = random_weights.stylegan2(**config)
    ws = network.mapping(_latents(network))
    assert torch.allclose(ws, stylegan2_reference.mapping(network, _latents(network)), atol=1e-5)
    assert _relative(network.synthesis(ws), stylegan2_reference.synthesis(network, ws)) < 1e-5


@pytest.mark.parametrize("channels_last", [False, True])
def test_both_memory_formats_give_the_same_picture(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StyleGAN2, "cpu_channels_last", channels_last)
    network = random_weights.stylegan2().place("cpu")
    ws = network.mapping(_latents(network))
    assert _relative(network.synthesis(ws), stylegan2_reference.synthesis(network, ws)) < 1e-5


def test_layers_overwrite_their_input_and_nothing_that_is_kept() -> None:
    network = random_weights.stylegan2().place("cpu")
    ws = network.mapping(_latents(network))
    kept = {name: tensor.clone() for name, tensor in network.named_buffers()}
    first = network.synthesis(ws)
    assert torch.equal(network.synthesis(ws), first)
    assert torch.equal(network.synthesis(ws[:1]), network.synthesis(ws[:1]))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.named_buffers())


def test_the_twin_agrees_with_a_recomputation_in_float64_by_loops_over_pixels() -> None:
    """One 8 px picture, from the stored numbers and the published equations only, without any convolution of torch's."""
    network = random_weights.stylegan2(channels=[3, 2], conv_clamp=1.5)
    ws = network.mapping(_latents(network, 1))
    stored = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
    w = ws[0].numpy().astype(np.float64)

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return stored[f"{name}.affine.weight"] @ row / np.sqrt(len(row)) + stored[f"{name}.affine.bias"]

    def finish(name: str, x: np.ndarray) -> np.ndarray:
        x = x + stored[f"{name}.noise_strength"] * stored[f"{name}.noise_const"] + stored[f"{name}.bias"][:, None, None]
        return np.clip(np.where(x < 0, 0.2 * x, x) * np.sqrt(2), -1.5, 1.5)

    def demodulated(name: str, row: np.ndarray) -> np.ndarray:
        kernel = stored[f"{name}.weight"] * affine(name, row)[None, :, None, None]
        return kernel / np.sqrt((kernel**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)

    def same(kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        out = np.zeros((len(kernel), *x.shape[1:]))
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                out[:, i, j] = np.einsum("ocyx,cyx->o", kernel, padded[:, i : i + 3, j : j + 3])
        return out

    def filtered(x: np.ndarray, before: int, after: int) -> np.ndarray:
        fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * 4
        padded = np.pad(x, ((0, 0), (before, after), (before, after)))
        height, width = padded.shape[1] - 3, padded.shape[2] - 3
        out = np.zeros((len(x), height, width))
        for i in range(height):
            for j in range(width):
                out[:, i, j] = (padded[:, i : i + 4, j : j + 4] * fir).sum(axis=(1, 2))
        return out

    def doubled(kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
        spread = np.zeros((len(kernel), 2 * x.shape[1] + 1, 2 * x.shape[2] + 1))
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                spread[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("ocyx,c->oyx", kernel, x[:, i, j])
        return filtered(spread, 1, 1)

    def colours(name: str, x: np.ndarray, row: np.ndarray) -> np.ndarray:
        kernel = stored[f"{name}.weight"][:, :, 0, 0] * affine(name, row) / np.sqrt(x.shape[0])
        return np.clip(np.einsum("oc,cyx->oyx", kernel, x) + stored[f"{name}.bias"][:, None, None], -1.5, 1.5)

    x = finish("synthesis.b4.conv1", same(demodulated("synthesis.b4.conv1", w[0]), stored["synthesis.b4.const"]))
    small = colours("synthesis.b4.torgb", x, w[1])
    x = finish("synthesis.b8.conv0", doubled(demodulated("synthesis.b8.conv0", w[1]), x))
    x = finish("synthesis.b8.conv1", same(demodulated("synthesis.b8.conv1", w[2]), x))
    spread = np.zeros((3, 8, 8))
    spread[:, ::2, ::2] = small
    expected = filtered(spread, 2, 1) + colours("synthesis.b8.torgb", x, w[3])
    assert np.abs(stylegan2_reference.synthesis(network, ws)[0].numpy() - expected).max() < 1e-5


def test_mapping_normalises_z_so_its_length_does_not_matter() -> None:
    network = random_weights.stylegan2()
    z = _latents(network)
    assert torch.allclose(network.mapping(z), network.mapping(z * 7), atol=1e-5)


@pytest.mark.parametrize("joint_norm", [False, True])
def test_a_conditional_network_takes_a_class_and_falls_back_to_the_first(joint_norm: bool) -> None:
    network = random_weights.stylegan2(c_dim=3, w_dim=18, joint_norm=joint_norm)
    z, classes = _latents(network, 3), torch.eye(3)
    ws = network.mapping(z, classes)
    assert torch.allclose(ws, stylegan2_reference.mapping(network, z, classes), atol=1e-5)
    assert torch.allclose(network.mapping(z[:1]), ws[:1], atol=1e-5)
    assert not torch.allclose(ws[1], network.mapping(z)[1])


def test_psi_pulls_w_towards_w_avg() -> None:
    network = random_weights.stylegan2()
    ws = network.mapping(_latents(network))
    centre = network.state_dict()["mapping.w_avg"]
    assert torch.equal(network.truncate(ws, 0.0), centre.expand_as(ws))
    assert torch.allclose(network.truncate(ws, 1.0), ws, atol=1e-6)
    assert torch.allclose(network.truncate(ws, torch.tensor(0.5)), network.truncate(ws, 0.5))


def test_psi_may_be_one_number_a_picture() -> None:
    network = random_weights.stylegan2()
    ws = network.mapping(_latents(network))
    both = network.truncate(ws, torch.tensor([0.2, 0.9])[:, None, None])
    assert torch.allclose(both[1], network.truncate(ws, 0.9)[1])


def test_pictures_of_a_batch_do_not_depend_on_each_other() -> None:
    network = random_weights.stylegan2()
    ws = network.mapping(_latents(network, 3))
    alone = torch.cat([network.synthesis(row[None]) for row in ws])
    assert torch.allclose(network.synthesis(ws), alone, atol=1e-4)


def test_synthesis_leaves_its_weights_and_input_alone() -> None:
    network = random_weights.stylegan2()
    ws = network.mapping(_latents(network)).clone()
    before = {name: tensor.clone() for name, tensor in [*network.state_dict().items(), ("ws", ws)]}
    first = network.synthesis(ws)
    assert torch.equal(first, network.synthesis(ws))
    assert all(torch.equal(before[name], tensor) for name, tensor in [*network.state_dict().items(), ("ws", ws)])


@pytest.mark.parametrize("clamp", [256.0, None])
def test_half_precision_stays_close_and_finite_for_large_weights(clamp: float | None) -> None:
    network = random_weights.stylegan2(channels=[32, 32, 32, 32, 24, 16], conv_clamp=clamp)
    for name, tensor in network.state_dict().items():
        if name.endswith("conv1.weight"):
            tensor.mul_(3000)
    network.prepare()
    ws = network.mapping(_latents(network))
    exact = stylegan2_reference.synthesis(network, ws)
    half = network.place("cpu", torch.float16).synthesis(ws)
    assert half.dtype == torch.float32
    assert _relative(half, exact) < 5e-3


def test_num_ws_and_size_follow_from_the_widths() -> None:
    network = random_weights.stylegan2(channels=[8] * 7, base=[4, 8])
    assert (network.num_ws, network.shape, network.size) == (14, (256, 512), 512)


@pytest.mark.parametrize(
    "config", [{}, {"c_dim": 4, "noise": False}, {"base": [3, 5], "mapping_width": 20, "z_dim": 9, "c_dim": 2}]
)
def test_the_config_can_be_read_off_the_shapes(config: dict) -> None:
    network = random_weights.stylegan2(**config)
    assert StyleGAN2.config_of(network.state_dict(), conv_clamp=256.0) == network.config


def test_shapes_that_are_no_stylegan2_are_named() -> None:
    with pytest.raises(ModelError, match=r"synthesis\.b4\.const"):
        StyleGAN2.config_of({"mapping.w_avg": torch.zeros(4)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"z_dim": 0},
        {"channels": []},
        {"channels": [8] * 20},
        {"channels": [8, -1]},
        {"base": [4]},
        {"conv_clamp": float("nan")},
        {"mapping_layers": 10**9},
        {"noise": 1},
        {"w_dim": "16"},
    ],
)
def test_a_config_out_of_bounds_is_refused(wrong: dict) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        random_weights.stylegan2(**wrong)


@pytest.mark.parametrize("name", ["sg2", "sg2c", "sg3sg2"])
def test_the_pictures_are_those_of_the_original_code(name: str, shared_dir: Path) -> None:
    """Networks written, and pictures made, by NVIDIA's own StyleGAN2-ADA and StyleGAN3 code; sg2c has three classes."""
    folder = shared_dir / "fixtures" / "checkpoints"
    network = _nvidia(folder / f"{name}.pkl")
    with np.load(folder / f"{name}_expected.npz") as file:
        expected = {key: torch.from_numpy(file[key]) for key in file.files}
    ws = network.truncate(network.mapping(expected["z"], expected["c"]), expected["psi"])
    assert _relative(ws, expected["ws"]) < 1e-5
    assert _relative(network.synthesis(ws), expected["img"]) < 1e-4
    assert _relative(stylegan2_reference.synthesis(network, ws), expected["img"]) < 1e-4


def test_where_z_and_class_are_normalised_together_is_not_in_the_shapes() -> None:
    network = random_weights.stylegan2(c_dim=2, z_dim=9, joint_norm=True)
    assert StyleGAN2.config_of(network.state_dict(), conv_clamp=256.0, joint_norm=True) == network.config
