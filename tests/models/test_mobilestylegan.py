"""MobileStyleGAN: the fast path against its twin, the files against OpenVINO running the same files, and what is refused."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError, ModelError
from installation.models import bring, checkpoint, cost, mobilestylegan, random_weights
from installation.models.catalogue import CATALOGUE
from installation.models.header import read_index
from installation.models.importers import wheel as wheels
from installation.models.importers.average import average_w
from installation.models.importers.mobilestylegan import read_mobilestylegan
from installation.models.importers.openvino_ir import read_ir
from installation.models.mobilestylegan import MobileStyleGAN
from installation.models.network import restore
from tests.models import openvino_graph
from tests.models.pinned import pinned

Files = tuple[bytes, bytes, bytes, bytes]


def arrays(network: MobileStyleGAN) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items() if name != "mapping.w_avg"}


@cache
def small_files() -> Files:
    state = arrays(random_weights.mobilestylegan(3))
    return (*openvino_graph.mapping(state), *openvino_graph.synthesis(state, 16))


def openvino_runs(xml: bytes, weights: bytes, x: np.ndarray) -> np.ndarray:
    """What OpenVINO makes of x, row by row, in float32."""
    openvino = pytest.importorskip("openvino", reason="the second reader, the package openvino, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.xml").write_bytes(xml)
        (Path(folder) / "m.bin").write_bytes(weights)
        precise = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
        model = openvino.Core().compile_model(str(Path(folder) / "m.xml"), "CPU", precise)
        return np.concatenate([model([row[None]])[0] for row in x])


@pytest.mark.parametrize("band_rows", [2, 6, 32])
@pytest.mark.parametrize("config", [{}, {"channels": [8, 20]}, {"channels": [16, 8, 8, 8, 5], "z_dim": 7}])
def test_bands_and_folded_styles_give_what_the_equations_give(
    config: dict, band_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobilestylegan, "BAND_ROWS", band_rows)
    network = random_weights.mobilestylegan(**config)
    ws = torch.randn(2, network.num_ws, network.w_dim, generator=torch.Generator().manual_seed(1))
    img, expected = network.synthesis(ws), network.synthesis_slow(ws)
    assert img.shape == (2, 3, *network.shape)
    assert (img - expected).abs().max() <= 2e-6 * (expected.max() - expected.min())


def test_every_row_of_ws_reaches_the_picture() -> None:
    network = random_weights.mobilestylegan()
    ws = torch.randn(1, network.num_ws, network.w_dim, generator=torch.Generator().manual_seed(1))
    for row in range(network.num_ws):
        changed = ws.clone()
        changed[:, row] += 1
        assert not torch.allclose(network.synthesis(changed), network.synthesis(ws)), row


def test_psi_pulls_towards_the_mean_of_the_mapping() -> None:
    network = random_weights.mobilestylegan()
    centre = average_w(network, samples=3000)
    z = torch.randn(3000, network.z_dim, generator=torch.Generator().manual_seed(0))
    # Not bit for bit: the mapping of 1,024 rows and that of 3,000 may add in another order.
    torch.testing.assert_close(centre, network.mapping(z)[:, 0].mean(dim=0), atol=0.02, rtol=0)
    network.mapping.w_avg.copy_(centre)
    ws = network.mapping(z[:2])
    torch.testing.assert_close(network.truncate(ws, 0.0), centre.expand_as(ws))
    torch.testing.assert_close(network.truncate(ws, 1.0), ws)


def test_the_files_hold_the_weights_that_went_in() -> None:
    state = arrays(random_weights.mobilestylegan(3))
    found = read_mobilestylegan(*small_files(), where="test")
    assert found.keys() == state.keys()
    for name, values in state.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_pictures_are_those_that_openvino_makes_of_the_same_files() -> None:
    network = random_weights.mobilestylegan(3)
    z = np.random.default_rng(5).standard_normal((3, 16)).astype(np.float32)
    files = small_files()
    w = openvino_runs(files[0], files[1], z)
    expected = openvino_runs(files[2], files[3], w)
    np.testing.assert_allclose(network.mapping(torch.from_numpy(z))[:, 0].numpy(), w, atol=1e-5)
    img = network.synthesis(torch.from_numpy(w)[:, None].expand(-1, network.num_ws, -1)).numpy()
    assert np.abs(img - expected).max() <= 1e-5 * np.ptp(expected)


@pytest.mark.network
@pytest.mark.slow
def test_random_face_makes_the_pictures_that_openvino_makes_of_the_same_files(tmp_path: Path) -> None:
    entry = CATALOGUE["random-face"]
    wheel = pinned(entry.name)
    files = wheels.read_members(wheel, entry.wheel, entry.members)
    path = bring.add(str(wheel), progress=lambda what, share: None, data_dir=tmp_path / "models")
    header, tensors = read_index(path)
    assert (header.size, header.z_dim, header.w_dim, header.commercial_use) == (1024, 512, 512, False)
    assert cost.describe(header, cost.macs(header, tensors)) == "14.6 GFLOP a picture"
    network = checkpoint.load(path)
    assert isinstance(network, MobileStyleGAN)
    z = np.random.default_rng(0).standard_normal((2, 512)).astype(np.float32)
    w = openvino_runs(files[0], files[1], z)
    np.testing.assert_allclose(network.mapping(torch.from_numpy(z))[:, 0].numpy(), w, atol=2e-5)
    expected = openvino_runs(files[2], files[3], w)
    img = network.synthesis(torch.from_numpy(w)[:, None].expand(-1, network.num_ws, -1)).numpy()
    assert np.abs(img - expected).max() <= 1e-4 * np.ptp(expected)


def swapped(part: int, old: bytes, new: bytes, times: int = 1) -> Files:
    files = list(small_files())
    assert old in files[part]
    files[part] = files[part].replace(old, new, times)
    return files[0], files[1], files[2], files[3]


BOMB = b'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><net name="&b;" version="10"/>'
REFUSED: dict[str, tuple[Callable[[], Files], str]] = {
    "entities": (lambda: (BOMB, *small_files()[1:]), "declares a document type"),
    "a file from elsewhere": (
        lambda: (b'<!DOCTYPE net SYSTEM "file:///etc/passwd"><net version="10"/>', *small_files()[1:]),
        "declares a document type",
    ),
    "deep nesting": (lambda: (b'<net version="10">' + b"<a>" * 100_000, *small_files()[1:]), "nested too deeply"),
    "another XML": (lambda: (b"<html><body/></html>", *small_files()[1:]), "not an OpenVINO IR"),
    "no XML": (lambda: (b"\x00\x01", *small_files()[1:]), "not well-formed XML"),
    "nothing": (lambda: (b"", *small_files()[1:]), "not well-formed XML"),
    "another version": (lambda: swapped(0, b'version="10"', b'version="7"'), "IR version '7'"),
    "the two graphs swapped": (lambda: (*small_files()[2:], *small_files()[:2]), "no MobileStyleGAN"),
    "weights cut short": (lambda: (*small_files()[:3], small_files()[3][:-4]), "lies outside the .bin"),
    "NaN": (lambda: (*small_files()[:3], b"\xff" * len(small_files()[3])), "NaN or infinity"),
    "a size that is a word": (lambda: swapped(2, b"<dim>16</dim>", b"<dim>many</dim>"), "not a whole number"),
    "a size without end": (lambda: swapped(2, b"<dim>16</dim>", b"<dim>" + b"9" * 5000 + b"</dim>"), "whole number"),
    "compressed weights": (lambda: swapped(2, b'element_type="f32" shape="16, 16"', b'element_type="u4" shape="16, 16"'), "'u4'"),
    "a layer of another kind": (lambda: swapped(2, b'type="PReLU"', b'type="Relu"'), "not a"),
    "a layer twice": (lambda: swapped(2, b'<layer id="1"', b'<layer id="0"'), "there twice"),
    "an edge to nowhere": (lambda: swapped(2, b'from-layer="0"', b'from-layer="99999"'), "joins what is not there"),
    "a loop": (lambda: (small_files()[0], small_files()[1], loop(), small_files()[3]), "no MobileStyleGAN|comes from"),
}  # fmt: skip


def loop() -> bytes:
    """The synthesis with its result fed from a sum of itself."""
    return (
        b'<net version="10"><layers><layer id="0" name="w" type="Parameter"><output><port id="0"/></output></layer>'
        b'<layer id="1" name="a" type="Add"><input><port id="0"/><port id="1"/></input><output><port id="2"/></output>'
        b'</layer><layer id="2" name="r" type="Result"><input><port id="0"/></input></layer></layers><edges>'
        b'<edge from-layer="1" from-port="2" to-layer="1" to-port="0"/><edge from-layer="1" from-port="2" to-layer="1"'
        b' to-port="1"/><edge from-layer="1" from-port="2" to-layer="2" to-port="0"/></edges></net>'
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_odd_is_refused_with_its_reason(case: str) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(CheckpointError, match=reason):
        read_mobilestylegan(*make(), where="test")


def test_mutated_graphs_give_a_network_or_a_clear_error() -> None:
    """Bytes changed, cut out and doubled: never another exception, and never more memory than the file."""
    rng = np.random.default_rng(0)
    files = small_files()
    refused = 0
    for _ in range(600):
        part = int(rng.choice([0, 2]))
        data = bytearray(files[part])
        begin = int(rng.integers(len(data)))
        end = min(len(data), begin + int(rng.integers(1, 40)))
        match rng.integers(3):
            case 0:
                data[begin:end] = rng.integers(32, 127, end - begin, dtype=np.uint8).tobytes()
            case 1:
                del data[begin:end]
            case _:
                data[begin:begin] = data[begin:end]
        changed = [*files[:part], bytes(data), *files[part + 1 :]]
        try:
            read_mobilestylegan(*changed, where="test")
        except CheckpointError:
            refused += 1
    assert refused > 400


def test_every_length_of_a_cut_graph_is_refused() -> None:
    xml, weights = small_files()[:2]
    for length in range(0, len(xml), 97):
        with pytest.raises(CheckpointError):
            read_ir(xml[:length], weights, where="test")


def test_wrong_shapes_are_refused_by_name() -> None:
    tensors = random_weights.mobilestylegan().state_dict()
    config = MobileStyleGAN.config_of(tensors)
    tensors["synthesis.b8.conv0.noise"] = torch.zeros(8, 9)
    with pytest.raises(ModelError, match=r"'synthesis.b8.conv0.noise' has shape \[8, 9\]"):
        restore(MobileStyleGAN(**config), tensors)
    with pytest.raises(ModelError, match="multiples of 4"):
        MobileStyleGAN(z_dim=4, w_dim=4, channels=[6, 4])
    with pytest.raises(ModelError, match="no tensor"):
        MobileStyleGAN.config_of({})
