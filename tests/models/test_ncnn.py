"""importers/ncnn and ncnn_srvgg: every weight in its place, every other file refused, and ncnn's own reader sees the same picture."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.errors import CheckpointError, InstallationError, ModelError
from installation.models import bring, checkpoint
from installation.models.importers.ncnn_srvgg import read_srvgg
from installation.models.network import restore
from installation.models.srvgg import SRVGG
from tests.models.ncnn_reader import ncnn_picture

FP16, FP32, INT8 = 0x01306B47, 0, 0x000D4B38


def tiny(scale: int = 2, feat: int = 5, convs: int = 2, flag: int = FP16) -> tuple[str, bytes, dict[str, np.ndarray]]:
    """A small compact network as ncnn stores it: .param, .bin and the weights by their Real-ESRGAN names."""
    rng = np.random.default_rng(7)
    widths = [3, *[feat] * (convs + 1), 3 * scale**2]
    lines = ["Input in0 0 1 data", "Split split0 1 2 data a0 b0"]
    blob, data, tensors = "a0", b"", {}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        weight = (rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(
            np.float16 if flag else np.float32
        )
        bias = rng.standard_normal(outputs).astype(np.float32) / 10
        raw = weight.tobytes()
        data += struct.pack("<I", flag) + raw + b"\0" * (-len(raw) % 4) + bias.tobytes()
        tensors[f"body.{2 * i}.weight"], tensors[f"body.{2 * i}.bias"] = weight, bias
        lines.append(f"Convolution conv{i} 1 1 {blob} c{i} 0={outputs} 1=3 4=1 5=1 6={weight.size}")
        blob = f"c{i}"
        if i < len(widths) - 2:
            slope = rng.uniform(0, 0.5, outputs).astype(np.float32)
            data += slope.tobytes()
            tensors[f"body.{2 * i + 1}.weight"] = slope
            lines.append(f"PReLU prelu{i} 1 1 {blob} p{i} 0={outputs}")
            blob = f"p{i}"
    lines.append(f"PixelShuffle shuffle 1 1 {blob} s0 0={scale}")
    lines.append(f"Interp resize 1 1 b0 r0 0=1 1={scale}.000000e+00 2={scale}.000000e+00")
    lines.append("BinaryOp add 2 1 s0 r0 output")
    return text_of(lines), data, tensors


def text_of(lines: list[str]) -> str:
    blobs = sum(int(line.split()[3]) for line in lines)
    return "\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n"


def read(param: str, weights: bytes):
    return read_srvgg(param.encode(), weights, where="tiny")


def refused(param: str, weights: bytes) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(param, weights)
    return str(caught.value)


@pytest.mark.parametrize("flag", [FP16, FP32])
@pytest.mark.parametrize(("scale", "feat"), [(2, 5), (3, 5), (4, 8)])
def test_every_weight_is_in_its_place(flag: int, scale: int, feat: int) -> None:
    param, weights, tensors = tiny(scale, feat, flag=flag)
    found = read(param, weights)
    assert (found.scale, found.num_feat, found.num_conv) == (scale, feat, 2)
    assert found.tensors.keys() == tensors.keys()
    for name, expected in tensors.items():
        assert found.tensors[name].dtype == expected.dtype
        np.testing.assert_array_equal(found.tensors[name], expected)


def test_an_odd_count_of_halves_is_padded_to_four_bytes() -> None:
    param, weights, tensors = tiny(scale=3, feat=5)
    assert tensors["body.0.weight"].size % 2 == 1
    np.testing.assert_array_equal(read(param, weights).tensors["body.6.bias"], tensors["body.6.bias"])


def test_the_file_must_end_where_the_weights_end() -> None:
    param, weights, _ = tiny()
    assert "4 bytes left over" in refused(param, weights + b"\0\0\0\0")
    for length in (0, 3, 4, 100, len(weights) - 1):
        assert "ends" in refused(param, weights[:length])


def test_quantised_weights_are_refused_by_name() -> None:
    param, weights, _ = tiny()
    assert "int8" in refused(param, struct.pack("<I", INT8) + weights[4:])
    assert "quantised" in refused(param, struct.pack("<I", 0x12345678) + weights[4:])


def test_weights_that_are_not_finite_are_refused() -> None:
    param, weights, _ = tiny()
    assert "conv0 are not finite" in refused(param, weights[:4] + struct.pack("<e", float("nan")) + weights[6:])


def test_an_unknown_layer_is_refused_by_name() -> None:
    param, weights, _ = tiny()
    message = refused(param.replace("PReLU prelu1 1 1 c1 p1 0=5", "Sigmoid sig 1 1 c1 p1"), weights)
    assert "sig" in message
    assert "'Sigmoid'" in message


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("BinaryOp add 2 1 s0 r0 output", "BinaryOp add 2 1 s0 r0 output 0=2", "sum of two pictures"),
        ("resize 1 1 b0 r0 0=1", "resize 1 1 b0 r0 0=2", "nearest-neighbour"),
        ("1=2.000000e+00 2=2", "1=3.000000e+00 2=2", "nearest-neighbour"),
        ("shuffle 1 1 c3 s0 0=2", "shuffle 1 1 c3 s0 0=2 1=1", "nearest-neighbour"),
        ("conv1 1 1 p0 c1 0=5 1=3", "conv1 1 1 p0 c1 0=5 1=1", "no plain 3x3"),
        ("conv1 1 1 p0 c1 0=5 1=3 4=1", "conv1 1 1 p0 c1 0=5 1=3 3=2 4=1", "no plain 3x3"),
        ("conv1 1 1 p0 c1 0=5", "conv1 1 1 p0 c1 9=1 0=5", "no plain 3x3"),
        ("conv1 1 1 p0 c1", "conv0 1 1 p0 c1", "two layers have one name"),
        ("conv1 1 1 p0 c1 0=5", "conv1 1 1 p0 c1 0=5 -23310=1,2", "no plain 3x3 convolution"),
        ("conv1 1 1 p0 c1 0=5", "conv1 1 1 p0 c1 0=nan", "not understood"),
        ("conv1 1 1 p0 c1 0=5", "conv1 1 1 p0 c1 0=1e999", "not understood"),
        ("conv1 1 1 p0 c1 0=5", "conv1 1 1 p0 c1 0=4.5", "not in 1..4096"),
        ("conv1 1 1 p0 c1", "conv1 1 1 ghost c1", "which nothing made"),
        ("conv1 1 1 p0 c1", "conv1 1 1 p0 c0", "a second time"),
        ("PReLU prelu1 1 1 c1 p1 0=5", "PReLU prelu1 1 1 c1 p1 0=4000000", "not in 1..4096"),
        ("Split split0 1 2 data a0 b0", "Split split0 1 1 data a0", "has not 1 inputs and 2 to 64 outputs"),
        ("7767517", "7767518", "no ncnn .param"),
        ("Input", "Inpüt", "not a text .param"),
    ],
)
def test_another_graph_or_a_damaged_one_is_refused(old: str, new: str, word: str) -> None:
    param, weights, _ = tiny()
    assert old in param
    assert word in refused(param.replace(old, new, 1), weights)


def shrunk(param: str, factor: str, **options: str) -> str:
    """The same network with a resize behind it, as in the files of realesr-animevideov3-x2 and -x3."""
    kind, more = options.get("kind", "3"), options.get("more", "")
    lines = param.replace("r0 output", "r0 drawn").splitlines()[2:]
    return text_of([*lines, f"Interp last 1 1 drawn output 0={kind} 1={factor} 2={factor}{more}"])


@pytest.mark.parametrize(("drawn", "factor", "scale"), [(2, "5.000000e-01", 1), (4, "5.000000e-01", 2), (4, "0.75", 3)])
def test_a_network_that_shrinks_what_it_drew_is_read(drawn: int, factor: str, scale: int) -> None:
    param, weights, tensors = tiny(drawn)
    found = read(shrunk(param, factor), weights)
    assert (found.scale, found.drawn_scale) == (scale, drawn)
    assert found.tensors.keys() == tensors.keys()


@pytest.mark.parametrize(
    ("factor", "options"),
    [
        ("0.5", {"kind": "2"}),
        ("0.5", {"more": " 6=1"}),
        ("0.5", {"more": " 2=0.25"}),
        ("0.6", {}),
        ("0", {}),
        ("-0.5", {}),
        ("1", {}),
        ("2", {}),
        ("1e308", {}),
    ],
)
def test_a_network_with_another_resize_behind_it_is_refused(factor: str, options: dict[str, str]) -> None:
    """Read as the network alone, its pictures would be too large."""
    param, weights, _ = tiny(4)
    assert "last is not a bicubic resize of x4 to a smaller whole" in refused(shrunk(param, factor, **options), weights)


def test_a_resize_of_no_sum_is_refused() -> None:
    param, weights, _ = tiny()
    assert "ends in BinaryOp add" in refused(shrunk(param, "0.5").replace("drawn", "drawn 0=2", 1), weights)


def test_a_short_cut_that_skips_the_chain_is_refused() -> None:
    """The counts of layers are right, but the sum takes the picture from the middle of the chain."""
    param, weights, _ = tiny()
    lines = param.splitlines()[2:]
    lines[0:3] = ["Input in0 0 1 data", lines[2].replace(" a0 c0", " data c0"), "Split split0 1 2 c0 a0 b0"]
    lines[3] = lines[3].replace(" c0 p0", " a0 p0")
    assert "do not read the same input picture" in refused(text_of(lines), weights)


def test_two_prelus_in_a_row_are_refused() -> None:
    param, weights, _ = tiny()
    lines = param.splitlines()[2:]
    lines.insert(4, "PReLU extra 1 1 p0 p9 0=5")
    lines[5] = lines[5].replace(" p0 c1", " p9 c1")
    assert "do not take turns" in refused(text_of(lines), weights)


@settings(max_examples=300)
@given(st.data())
def test_mutated_files_only_ever_raise_checkpoint_errors(data: st.DataObject) -> None:
    param, weights, _ = tiny()
    text, binary = bytearray(param.encode()), bytearray(weights)
    for _ in range(data.draw(st.integers(1, 4))):
        target = text if data.draw(st.booleans()) else binary
        target[data.draw(st.integers(0, len(target) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_srvgg(bytes(text), bytes(binary), where="mutated")
    except CheckpointError:
        pass


def our_picture(param: bytes, weights: bytes, picture: np.ndarray) -> np.ndarray:
    """What our network makes of the same picture, in 0..1."""
    found = read_srvgg(param, weights, where="both")
    sizes = {"scale": found.scale, "drawn_scale": found.drawn_scale, "num_feat": found.num_feat}
    network = SRVGG(**sizes, num_conv=found.num_conv, unit_range=True)
    restore(network, {name: torch.from_numpy(array.copy()) for name, array in found.tensors.items()})
    with torch.inference_mode():
        img = network(torch.from_numpy(picture)[None] * 2 - 1)
    return ((img[0] + 1) / 2).numpy()


def pictures() -> dict[str, np.ndarray]:
    """Float32 [3, H, W] in 0..1; sides unlike each other, so that swapped axes show."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:40, 0:56].astype(np.float32)
    smooth = np.stack([x / 56, y / 40, 0.5 + 0.5 * np.sin(x / 9) * np.cos(y / 7)]).astype(np.float32)
    return {"noise": rng.random((3, 33, 47), dtype=np.float32), "smooth": smooth}


@pytest.mark.parametrize("kind", ["noise", "smooth"])
@pytest.mark.parametrize(("scale", "flag"), [(2, FP16), (4, FP32)])
def test_the_ncnn_package_makes_the_same_picture_of_the_same_file(
    tmp_path: Path, scale: int, flag: int, kind: str
) -> None:
    param, weights, _ = tiny(scale, 8, flag=flag)
    picture = pictures()[kind]
    theirs = ncnn_picture(param.encode(), weights, picture, tmp_path)
    assert theirs.shape == (3, picture.shape[1] * scale, picture.shape[2] * scale)
    np.testing.assert_allclose(our_picture(param.encode(), weights, picture), theirs, atol=1e-5)


@pytest.mark.parametrize("kind", ["noise", "smooth"])
@pytest.mark.parametrize(("factor", "scale"), [("0.5", 2), ("0.75", 3)])
def test_the_ncnn_package_shrinks_what_it_drew_as_we_do(tmp_path: Path, factor: str, scale: int, kind: str) -> None:
    param, weights, _ = tiny(4, 8)
    picture, small = pictures()[kind], shrunk(param, factor).encode()
    theirs = ncnn_picture(small, weights, picture, tmp_path)
    assert theirs.shape == (3, picture.shape[1] * scale, picture.shape[2] * scale)
    np.testing.assert_allclose(our_picture(small, weights, picture), theirs, atol=2e-5)


# As an artist brings them -------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    param, weights, _ = tiny()
    pair = tmp_path / "mine.param", tmp_path / "mine.bin"
    pair[0].write_text(param)
    pair[1].write_bytes(weights)
    return pair


def added(file: Path, folder: Path) -> tuple[Path, list[str]]:
    said: list[str] = []
    path = bring.add(str(file), progress=lambda what, share: said.append(what), data_dir=folder)
    return path, said


@pytest.mark.parametrize("which", [0, 1])
def test_either_file_of_the_two_names_the_upscaler(files: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    path, said = added(files[which], tmp_path / "models")
    assert "mine: taken for srvgg, ×2" in said
    network = checkpoint.load(path)
    picture = np.random.default_rng(0).random((3, 6, 7), dtype=np.float32)
    with torch.inference_mode():
        shown = (network(torch.from_numpy(picture)[None] * 2 - 1)[0] + 1) / 2
    np.testing.assert_allclose(
        shown.numpy(), our_picture(files[0].read_bytes(), files[1].read_bytes(), picture), atol=1e-6
    )
    assert added(files[which], tmp_path / "models") == (path, [])


def test_a_file_without_its_other_half_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].unlink()
    with pytest.raises(ModelError, match=r"mine\.bin: cannot be read: .*two files of one name"):
        added(files[0], tmp_path / "models")


def test_large_letters_name_the_other_half_in_large_letters(files: tuple[Path, Path], tmp_path: Path) -> None:
    for file in files:
        file.rename(tmp_path / file.name.upper())
    assert added(tmp_path / "MINE.BIN", tmp_path / "models")[0].name == "MINE.safetensors"


def test_a_network_that_shrinks_what_it_drew_comes_back_as_that(files: tuple[Path, Path], tmp_path: Path) -> None:
    param, weights, _ = tiny(4)
    files[0].write_text(shrunk(param, "0.75"))
    files[1].write_bytes(weights)
    path, said = added(files[0], tmp_path / "models")
    assert "mine: taken for srvgg, ×3" in said
    network = checkpoint.load(path)
    assert isinstance(network, SRVGG)
    assert (network.scale, network.drawn_scale) == (3, 4)


def test_another_graph_of_the_same_weights_is_another_model(files: tuple[Path, Path], tmp_path: Path) -> None:
    added(files[0], tmp_path / "models")
    files[0].write_text(files[0].read_text().replace("PReLU", "Swish"))
    with pytest.raises(ModelError, match="another model named mine"):
        added(files[0], tmp_path / "models")


def test_a_damaged_pair_leaves_the_model_that_is_there(files: tuple[Path, Path], tmp_path: Path) -> None:
    path, _ = added(files[0], tmp_path / "models")
    before = path.read_bytes()
    files[1].write_bytes(files[1].read_bytes()[:-4])
    with pytest.raises(InstallationError):
        bring.add(str(files[0]), progress=lambda what, share: None, data_dir=tmp_path / "models", again=True)
    assert path.read_bytes() == before


def test_openvinos_files_are_told_where_theirs_come_from(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="random-face"):
        added(tmp_path / "synthesis.xml", tmp_path)
