"""Axes of w against independent computations, and the file beside the checkpoint."""

from __future__ import annotations

import json
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from installation.errors import ModelError
from installation.models import axes, checkpoint, library, random_weights
from installation.models.axes import measure, sefa, spread_of
from installation.models.header import axes_file
from installation.models.network import Generator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "faces.safetensors", 1)


def save(path: Path, seed: int) -> Path:
    network = random_weights.stylegan2(seed)
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name=path.stem))
    return path


def network_of(path: Path) -> Generator:
    network = checkpoint.load(path)
    assert isinstance(network, Generator)
    return network


def test_axes_are_the_principal_axes_of_other_samples_too() -> None:
    """Checked with samples of its own, by numpy's SVD of the samples and not by the covariance's eigenvectors."""
    network = random_weights.stylegan2(1)
    spread = measure(network, 1 << 15)
    z = torch.from_numpy(np.random.default_rng(5).standard_normal((1 << 15, 16)).astype(np.float32))
    w = network.mapping(z)[:, 0].double().numpy()
    _, singular, rows = np.linalg.svd(w - w.mean(axis=0), full_matrices=False)
    sigma = singular / np.sqrt(len(w))
    assert spread.axes.shape == (16, 16)
    np.testing.assert_allclose(spread.sigma.numpy(), sigma, rtol=0.03)
    np.testing.assert_allclose(spread.mean.numpy(), w.mean(axis=0), atol=0.05 * sigma[0])
    for k in range(3):
        assert abs(spread.axes[k].numpy() @ rows[k]) > 0.98
    moved = axes.along(spread, spread.axes[2])
    assert float(moved.norm()) == pytest.approx(float(spread.sigma[2]), rel=1e-3)


def test_there_are_64_of_a_w_that_has_as_many() -> None:
    spread = measure(random_weights.stylegan2(1, w_dim=80), 4000)
    assert spread.axes.shape == (64, 80)
    assert spread.sigma.shape == (64,)


def test_classes_are_part_of_the_spread() -> None:
    network = random_weights.stylegan2(1, c_dim=3)
    mean = measure(network, 3000).mean
    z = torch.randn(3000, 16, generator=torch.Generator().manual_seed(2))
    c = torch.nn.functional.one_hot(torch.arange(3000) % 3, 3).float()
    torch.testing.assert_close(mean, network.mapping(z, c)[:, 0].mean(dim=0), atol=0.15, rtol=0.1)


def test_sefa_finds_the_directions_to_which_the_styles_answer_most() -> None:
    network = random_weights.stylegan2(3)
    a = torch.cat([weight for layer in network.style_weights()[2:5] for weight in layer]).double()
    found = sefa(network, (2, 4)).double()
    answers = (a @ found.T).norm(dim=0)
    torch.testing.assert_close(answers, torch.linalg.svdvals(a), rtol=1e-4, atol=1e-4)
    others = torch.nn.functional.normalize(torch.randn(16, 500, generator=torch.Generator().manual_seed(1)), dim=0)
    assert (a @ others.double()).norm(dim=0).max() < answers[0]


def test_every_layer_of_ws_has_the_styles_it_drives() -> None:
    """By experiment: moving one layer of ws along the null space of its style weights leaves the picture as it is."""
    network = random_weights.stylegan2(1, w_dim=64, channels=[16, 12, 8])
    ws = network.mapping(torch.randn(1, 16, generator=torch.Generator().manual_seed(1))).clone()
    plain = network.synthesis(ws)
    styles = network.style_weights()
    assert len(styles) == network.num_ws
    for layer in (0, 2, 4, 5):  # those that no colour layer shares, and the last
        a = torch.cat(list(styles[layer]))
        direction = torch.linalg.svd(a, full_matrices=True).Vh[-1]
        moved = ws.clone()
        moved[0, layer] += 3 * direction
        along = ws.clone()
        along[0, layer] += 3 * torch.linalg.svd(a).Vh[0]
        assert (network.synthesis(along) - plain).abs().max() > 1e-3
        if layer in (0, 2, 4):
            assert (network.synthesis(moved) - plain).abs().max() < 1e-4


def test_directions_have_one_sign_whatever_the_solver_says() -> None:
    rows = axes._signed(torch.tensor([[0.6, -0.8], [-0.6, -0.8]]))
    torch.testing.assert_close(rows, torch.tensor([[-0.6, 0.8], [0.6, 0.8]]))


def test_they_are_found_once_and_kept_beside_the_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = spread_of(network_of(file), file)
    assert axes_file(file).name == "faces.axes.safetensors"
    monkeypatch.setattr(axes, "measure", lambda network: pytest.fail("found again"))
    again = spread_of(network_of(file), file)
    for name in ("mean", "covariance", "axes", "sigma"):
        assert torch.equal(getattr(first, name), getattr(again, name))


def test_another_checkpoint_of_the_same_name_makes_them_anew(file: Path) -> None:
    first = spread_of(network_of(file), file)
    save(file, 2)
    second = spread_of(network_of(file), file)
    assert not torch.allclose(first.sigma, second.sigma)
    assert torch.equal(spread_of(network_of(file), file).sigma, second.sigma)


def test_a_file_replaced_after_it_was_loaded_is_not_given_the_old_networks_axes(file: Path) -> None:
    old = network_of(file)
    save(file, 2)
    spread_of(old, file)
    new = network_of(file)
    assert torch.equal(spread_of(new, file).axes, measure(new).axes)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _poison(path: Path) -> None:
    tensors = load_file(path)
    tensors["axes"][0, 0] = float("nan")
    header = path.read_bytes()
    (length,) = struct.unpack("<Q", header[:8])
    save_file(tensors, path, metadata=json.loads(header[8 : 8 + length])["__metadata__"])


def _nest(path: Path) -> None:
    save_file(load_file(path), path, metadata={axes._KEY: "[" * 200_000})


@pytest.mark.parametrize(
    "damage", [_cut, _poison, _nest, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"x" * 99)]
)
def test_a_damaged_file_is_made_anew(file: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    first = spread_of(network_of(file), file)
    damage(axes_file(file))
    with caplog.at_level(logging.WARNING):
        assert torch.equal(spread_of(network_of(file), file).axes, first.axes)
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    assert spread_of(network_of(file), file) is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_in_its_place_is_not_waited_for(file: Path) -> None:
    os.mkfifo(axes_file(file))
    first = spread_of(network_of(file), file)
    assert torch.equal(load_file(axes_file(file))["axes"], first.axes)


def test_a_folder_that_refuses_is_tolerated(file: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with caplog.at_level(logging.INFO):
        assert spread_of(network_of(file), file).axes.shape == (16, 16)
    assert "are not kept" in caplog.text
    assert os.listdir(file.parent) == ["faces.safetensors"]


def test_the_file_is_no_model(file: Path) -> None:
    spread_of(network_of(file), file)
    faults: list[object] = []
    assert [entry.name for entry in library.installed([file.parent], data_dir=file.parent, report=faults.append)] == [
        "faces"
    ]
    assert not faults


def test_a_network_without_w_has_no_axes() -> None:
    with pytest.raises(ModelError, match="has no w"):
        spread_of(random_weights.dcgan(1))


def test_layers_beyond_the_network_are_a_clear_error() -> None:
    with pytest.raises(ModelError, match="no style weights in layers 20 to 24"):
        sefa(random_weights.stylegan2(1), (20, 24))
