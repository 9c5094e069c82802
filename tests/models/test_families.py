"""importers/families: what foreign files are taken for, that the network is theirs, and what is refused with one clear error."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError, OutputError
from installation.files import fingerprint
from installation.models import bring, checkpoint, info, library, random_weights, stylegan2_reference
from installation.models.header import read_header
from installation.models.importers import average, families
from installation.models.importers.inert import Inert
from installation.models.importers.safe_pickle import read_file, read_pickle
from installation.models.network import Generator
from installation.models.stylegan2 import StyleGAN2
from tests.models import nvidia_pickle

FIR = torch.outer(*[torch.tensor([1.0, 3.0, 3.0, 1.0])] * 2) / 64


def add(file: Path, folder: Path, **options: Any) -> tuple[Path, list[str]]:
    said: list[str] = []
    path = bring.add(str(file), progress=lambda what, share: said.append(what), data_dir=folder, **options)
    return path, said


def stylegan2_file(
    path: Path,
    network: StyleGAN2,
    *,
    flat: bool = False,
    only: str = "",
    leave_out: str = "",
    photographs: str = "/data/people.zip",
    **changes: Any,
) -> Path:
    """As StyleGAN2-ADA's code writes it; flat: as StyleGAN3's does. changes: entries of layers (below `only`) that are otherwise."""
    tensors = {name: tensor for name, tensor in network.state_dict().items() if name != leave_out}
    for name in list(tensors):
        if name.endswith("conv1.weight"):
            tensors[name.removesuffix("conv1.weight") + "resample_filter"] = FIR
            tensors[name.removesuffix("weight") + "resample_filter"] = FIR

    def make(prefix: str, state: dict[str, Any]) -> nvidia_pickle.Persistent:
        layer = {"conv_clamp": network.config["conv_clamp"], "activation": "lrelu", "architecture": "skip"}
        mapping = {"bias_gain": 0.01} if prefix.startswith("mapping.fc") else {}
        return nvidia_pickle.Persistent(
            "Generator" if not prefix else "Layer",
            state | layer | mapping | (changes if prefix.startswith(only) else {}),
        )

    options = {"z_dim": network.z_dim} if flat else {"z_dim": network.z_dim, "synthesis_kwargs": {"channel_base": 1024}}
    generator = nvidia_pickle.module(tensors, make, _init_kwargs=options)
    content = {"G": None, "G_ema": generator, "training_set_kwargs": {"path": photographs}, "cur_nimg": 4000}
    return nvidia_pickle.dump(path, content)


def test_a_data_set_of_any_name_is_one_line_of_text(tmp_path: Path) -> None:
    file = stylegan2_file(tmp_path / "mine.pkl", random_weights.stylegan2(), photographs="/a/\udcff\n\nlicence  CC0")
    header = read_header(add(file, tmp_path / "models")[0])
    assert header.training_data == "\\udcff  licence  CC0"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_not_unicode_can_be_given_one(tmp_path: Path) -> None:
    file = stylegan2_file(tmp_path / "bad\udcff.pkl", random_weights.stylegan2())
    path, _ = add(file, tmp_path / "models", called="good")
    assert read_header(path).source == "bad\\udcff.pkl"


@pytest.mark.parametrize("c_dim", [0, 3])
def test_a_stylegan2_without_w_avg_is_given_the_mean_of_w(c_dim: int, tmp_path: Path) -> None:
    network = random_weights.stylegan2(c_dim=c_dim)
    path, said = add(stylegan2_file(tmp_path / "mine.pkl", network, leave_out="mapping.w_avg"), tmp_path / "models")
    assert any("taken for StyleGAN2-ADA (PyTorch), w_avg estimated" in line for line in said)
    z = torch.randn(6000, network.z_dim, generator=torch.Generator().manual_seed(5))
    c = torch.eye(c_dim)[torch.arange(len(z)) % c_dim] if c_dim else None
    w = stylegan2_reference.mapping(network, z, c)[:, 0]
    off = (checkpoint.load(path).state_dict()["mapping.w_avg"] - w.mean(dim=0)).abs() / w.std(dim=0)
    assert off.max() < 0.06  # of two means of 6,000 and 16,384


def stylegan3_file(path: Path, network: Generator, **options: Any) -> Path:
    bands = network.config["bands"]
    given = {"first_cutoff": bands["cutoff"], "margin_size": bands["margin"]} | options
    return nvidia_pickle.dump(
        path, {"G_ema": nvidia_pickle.persistent_module(network.state_dict(), _init_kwargs=given)}
    )


def r3gan_file(path: Path, network: Generator) -> Path:
    names = {
        "basis": "Basis",
        "linear.weight": "LinearLayer.weight",
        "taps": "Resampler.Kernel",
        "mix.weight": "LinearLayer.Layer.weight",
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        match name.split("."):
            case ["stages", s, "blocks", b, part, *_]:
                layer = (
                    f"LinearLayer{part[-1]}.Layer.weight" if part.startswith("conv") else f"NonLinearity{part[-1]}.Bias"
                )
                tensors[f"Model.MainLayers.{s}.Layers.{int(b) + 1}.{layer}"] = tensor
            case ["stages", s, *part]:
                tensors[f"Model.MainLayers.{s}.Layers.0.{names['.'.join(part)]}"] = tensor
            case ["embed", _]:
                tensors["Model.EmbeddingLayer.weight"] = tensor
            case _:
                tensors["Model.AggregationLayer.Layer.weight"] = tensor

    def make(prefix: str, state: dict[str, Any]) -> Any:
        return nvidia_pickle.instance("R3GAN.Networks.Part" if prefix else "training.networks.Generator", state)

    return nvidia_pickle.dump(path, {"G_ema": nvidia_pickle.module(tensors, make), "cur_nimg": 7})


FILES: dict[str, tuple[Callable[[Path], tuple[Path, Generator]], str]] = {
    "stylegan2-ada": (
        lambda path: (stylegan2_file(path, network := random_weights.stylegan2(conv_clamp=None)), network),
        "StyleGAN2-ADA (PyTorch), 32 × 32 px",
    ),
    "stylegan2 of stylegan3": (
        lambda path: (stylegan2_file(path, network := random_weights.stylegan2(), flat=True), network),
        "StyleGAN2 as StyleGAN3's code writes it, 32 × 32 px",
    ),
    "classes": (
        lambda path: (stylegan2_file(path, network := random_weights.stylegan2(c_dim=3)), network),
        "StyleGAN2-ADA (PyTorch), 32 × 32 px",
    ),
    "not square": (
        lambda path: (stylegan2_file(path, network := random_weights.stylegan2(base=[3, 5])), network),
        "StyleGAN2-ADA (PyTorch), 40 × 24 px",
    ),
    "stylegan3-t": (
        lambda path: (stylegan3_file(path, network := random_weights.stylegan3()), network),
        "StyleGAN3-T, 16 × 16 px",
    ),
    "stylegan3-r": (
        lambda path: (stylegan3_file(path, network := random_weights.stylegan3(kernel=1, radial=True)), network),
        "StyleGAN3-R, 16 × 16 px",
    ),
    "stylegan3 of other bands": (
        lambda path: (stylegan3_file(path, network := random_weights.stylegan3(bands={"margin": 6})), network),
        "StyleGAN3-T, 16 × 16 px",
    ),
    "r3gan": (lambda path: (r3gan_file(path, network := random_weights.r3gan()), network), "R3GAN, 32 × 32 px"),
    "r3gan with classes": (
        lambda path: (r3gan_file(path, network := random_weights.r3gan(c_dim=2, embedding=3)), network),
        "R3GAN, 32 × 32 px",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_becomes_the_network_that_wrote_it(kind: str, tmp_path: Path) -> None:
    write, title = FILES[kind]
    file, original = write(tmp_path / "mine.pkl")
    path, said = add(file, tmp_path / "models")
    assert f"mine: taken for {title}" in said
    loaded = checkpoint.load(path)
    assert isinstance(loaded, Generator)
    assert loaded.config == original.config
    z = torch.randn(2, original.z_dim)
    assert torch.equal(loaded(z, 0.7), original(z, 0.7))
    header = read_header(path)
    assert (header.source, header.source_sha256) == ("mine.pkl", fingerprint(file))
    assert "states no licence" in " ".join(said)
    assert (header.licence, header.commercial_use) == ("", None)


@pytest.mark.parametrize("name", ["sg2", "sg2c", "sg3sg2", "sg3t", "sg3r", "r3gan"])
def test_added_files_of_the_original_code_make_its_pictures(name: str, shared_dir: Path, tmp_path: Path) -> None:
    """From the file to the picture: through the reader, our own format, and the placed network."""
    folder = shared_dir / "fixtures" / "checkpoints"
    network = checkpoint.load(add(folder / f"{name}.pkl", tmp_path)[0])
    assert isinstance(network, Generator)
    network.place("cpu")
    with np.load(folder / f"{name}_expected.npz") as file:
        expected = {key: torch.from_numpy(file[key]) for key in file.files}
    ws = network.mapping(expected["z"], expected["c"]) if network.c_dim else network.mapping(expected["z"])
    ws = network.truncate(ws, expected.get("psi", 1.0))
    if "ws" in expected:
        assert float((ws - expected["ws"]).abs().max()) < 1e-4 * float(expected["ws"].max() - expected["ws"].min())
    img = expected["img"]
    assert float((network.synthesis(ws) - img).abs().max()) < 1e-4 * float(img.max() - img.min())


def test_info_says_what_it_is(tmp_path: Path) -> None:
    path, _ = add(
        stylegan2_file(tmp_path / "mine.pkl", random_weights.stylegan2(c_dim=3, base=[3, 5])), tmp_path / "models"
    )
    rows = dict(info.describe(library.Entry("mine", path, read_header(path))))
    assert rows["family"] == "stylegan2 generator"
    assert rows["output"] == "40 × 24 px"
    assert rows["latents"] == "z 16, w 16"
    assert rows["classes"] == "3"
    assert rows["images seen"] == "4,000"
    assert rows["training data"] == "people.zip"
    assert rows["commercial use"] == "not stated"
    assert "GFLOP" in rows["work"]
    assert rows["notes"] == "Converted from StyleGAN2-ADA (PyTorch)"
    assert len(rows["sha256"]) == 64


# TensorFlow ------------------------------------------------------------------------------------------------------------


def tensorflow_variables(rng: np.random.Generator, *, classes: int = 0, ada: bool = True) -> dict[str, np.ndarray]:
    """Random variables with the names and shapes of a StyleGAN2 of 16 px: z 5, w 6, widths 4, 3, 2. ada: classes as there, or before."""
    widths, shapes = {4: 4, 8: 3, 16: 2}, {"dlatent_avg": (6,), "lod": ()}
    if classes and ada:
        shapes |= {"mapping/LabelEmbed/weight": (classes, 6), "mapping/LabelEmbed/bias": (6,)}
    elif classes:
        shapes["mapping/LabelConcat/weight"] = (classes, 5)
    for i, inputs in enumerate([5 + ((6 if ada else 5) if classes else 0), 6, 6]):
        shapes |= {f"mapping/Dense{i}/weight": (inputs, 6), f"mapping/Dense{i}/bias": (6,)}
    shapes["synthesis/4x4/Const/const"] = (1, 4, 4, 4)
    layers = [("4x4/Conv", 4, 4, 3), ("4x4/ToRGB", 4, 3, 1)]
    for size in (8, 16):
        below, here = widths[size // 2], widths[size]
        layers += [
            (f"{size}x{size}/Conv0_up", below, here, 3),
            (f"{size}x{size}/Conv1", here, here, 3),
            (f"{size}x{size}/ToRGB", here, 3, 1),
        ]
    for name, inputs, outputs, side in layers:
        layer = f"synthesis/{name}"
        shapes |= {f"{layer}/weight": (side, side, inputs, outputs), f"{layer}/bias": (outputs,)}
        shapes |= {f"{layer}/mod_weight": (6, inputs), f"{layer}/mod_bias": (inputs,)}
        if side == 3:
            shapes[f"{layer}/noise_strength"] = ()
    for i, size in enumerate([4, 8, 8, 16, 16]):
        shapes[f"synthesis/noise{i}"] = (1, 1, size, size)
    return {
        name: np.asarray(rng.normal(size=shape) * (30 if "Dense" in name else 1), np.float32)
        for name, shape in shapes.items()
    }


def tensorflow_file(path: Path, arrays: dict[str, np.ndarray], *, protocol: int = 4, **state: Any) -> Path:
    """As dnnlib writes it: each network lists its own variables, and its parts are networks too."""

    def network(prefix: str, components: dict[str, Any]) -> Any:
        within = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        own = [(name, array) for name, array in within.items() if prefix or "/" not in name]
        stored = {
            "version": 4,
            "name": "Gs",
            "static_kwargs": {"resolution": 16},
            "components": components,
            "variables": own,
        }
        source = {"build_module_src": nvidia_pickle.SOURCE}
        return nvidia_pickle.instance("dnnlib.tflib.network.Network", stored | source | ({} if prefix else state))

    parts = {name: network(f"{name}/", {}) for name in ("mapping", "synthesis")}
    return nvidia_pickle.dump(path, tuple(network("", parts) for _ in range(3)), protocol)


def tensorflow_picture(v: dict[str, np.ndarray], z: np.ndarray, label: np.ndarray | None = None) -> np.ndarray:
    """What TensorFlow's network makes of z [5]: float64, loops, its own layouts; an up-layer as a convolution of the zero-stuffed plane."""
    v = {name: array.astype(np.float64) for name, array in v.items()}

    def act(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, 0.2 * x, x) * math.sqrt(2)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean() + 1e-8)

    w = unit(z)
    if label is not None and "mapping/LabelConcat/weight" in v:
        w = unit(np.concatenate([z, label @ v["mapping/LabelConcat/weight"]]))
    elif label is not None:
        w = np.concatenate(
            [w, unit(label @ v["mapping/LabelEmbed/weight"] / math.sqrt(len(label)) + v["mapping/LabelEmbed/bias"])]
        )
    for i in range(3):
        matrix = v[f"mapping/Dense{i}/weight"] * 0.01 / math.sqrt(len(w))
        w = act(w @ matrix + v[f"mapping/Dense{i}/bias"] * 0.01)
    w = v["dlatent_avg"] + 0.7 * (w - v["dlatent_avg"])

    def correlate(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """x [h, w, in] on an endless plane of zeros, kernel [k, k, in, out]: every place where they meet."""
        k = len(kernel)
        x = np.pad(x, ((k - 1, k - 1), (k - 1, k - 1), (0, 0)))
        out = np.zeros((x.shape[0] - k + 1, x.shape[1] - k + 1, kernel.shape[3]))
        for i in range(out.shape[0]):
            for j in range(out.shape[1]):
                out[i, j] = np.einsum("yxc,yxco->o", x[i : i + k, j : j + k], kernel)
        return out

    def blur(x: np.ndarray) -> np.ndarray:
        taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16
        return np.concatenate(
            [correlate(x[:, :, c : c + 1], taps[:, :, None, None]) for c in range(x.shape[2])], axis=2
        )

    def stuffed(x: np.ndarray) -> np.ndarray:
        out = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]))
        out[::2, ::2] = x
        return out

    def kernel(name: str, demodulate: bool) -> np.ndarray:
        weight = v[f"synthesis/{name}/weight"]
        style = w @ v[f"synthesis/{name}/mod_weight"] / math.sqrt(6) + v[f"synthesis/{name}/mod_bias"] + 1
        weight = weight / math.sqrt(np.prod(weight.shape[:3])) * style[None, None, :, None]
        return weight / np.sqrt((weight**2).sum(axis=(0, 1, 2)) + 1e-8) if demodulate else weight

    def layer(name: str, x: np.ndarray, noise: int, *, up: bool = False) -> np.ndarray:
        side = len(x) * (2 if up else 1)
        # The middle of the plane: a same-size convolution loses one place at each end, the doubled one two, and three of the blur's.
        x = blur(correlate(stuffed(x), kernel(name, True)))[2:][:side] if up else correlate(x, kernel(name, True))[1:-1]
        x = x[:, 2 : 2 + side] if up else x[:, 1:-1]
        x = x + v[f"synthesis/{name}/noise_strength"] * v[f"synthesis/noise{noise}"][0, 0, :, :, None]
        return act(x + v[f"synthesis/{name}/bias"])

    def colours(name: str, x: np.ndarray) -> np.ndarray:
        return correlate(x, kernel(name, False)) + v[f"synthesis/{name}/bias"]

    x = layer("4x4/Conv", v["synthesis/4x4/Const/const"][0].transpose(1, 2, 0), 0)
    img = colours("4x4/ToRGB", x)
    for i, size in enumerate((8, 16)):
        x = layer(f"{size}x{size}/Conv0_up", x, 2 * i + 1, up=True)
        x = layer(f"{size}x{size}/Conv1", x, 2 * i + 2)
        img = blur(stuffed(img))[1 : 1 + size, 1 : 1 + size] + colours(f"{size}x{size}/ToRGB", x)
    return img.transpose(2, 0, 1)


@pytest.mark.parametrize(("classes", "ada", "protocol"), [(0, True, 4), (0, True, 2), (3, True, 4), (3, False, 4)])
def test_a_tensorflow_file_makes_tensorflows_picture(classes: int, ada: bool, protocol: int, tmp_path: Path) -> None:
    """Against an independent computation in TensorFlow's own layouts: no such file is at hand."""
    rng = np.random.default_rng(3)
    variables = tensorflow_variables(rng, classes=classes, ada=ada)
    path, said = add(tensorflow_file(tmp_path / "old.pkl", variables, protocol=protocol), tmp_path / "models")
    assert "old: taken for StyleGAN2 (TensorFlow), 16 × 16 px" in said
    network = checkpoint.load(path)
    assert isinstance(network, StyleGAN2)
    z, c = rng.normal(size=(1, 5)), np.eye(3)[1:2] if classes else None
    weights = None if c is None else torch.from_numpy(c).float()
    ws = network.truncate(network.mapping(torch.from_numpy(z).float(), weights), 0.7)
    expected = tensorflow_picture(variables, z[0], None if c is None else c[0])
    for img in (network.synthesis(ws)[0], stylegan2_reference.synthesis(network, ws)[0]):
        assert np.abs(img.numpy() - expected).max() < 1e-5 * (expected.max() - expected.min())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "StyleGAN \\(1\\)"),
        ({"static_kwargs": {"architecture": "resnet"}}, "architecture is 'resnet'"),
        ({"static_kwargs": {"mapping_lrmul": 0.1}}, "mapping_lrmul"),
        ({"static_kwargs": {"mapping_nonlinearity": "relu"}}, "mapping_nonlinearity is 'relu'"),
        ({"static_kwargs": {"normalize_latents": False}}, "normalize_latents is 'False'"),
        ({"static_kwargs": {"resample_kernel": [1, 2, 1]}}, "resample_kernel"),
        ({"variables": [("mapping/LabelOther/weight", np.zeros((2, 2)))]}, "LabelOther"),
        (
            {"variables": [(f"mapping/Label{kind}/weight", np.zeros((2, 6))) for kind in ("Concat", "Embed")]},
            "both LabelConcat and LabelEmbed",
        ),
        ({"variables": [("synthesis/noise9", np.zeros(3))]}, "shape \\[3\\]"),
        ({"variables": [("dlatent_avg", "text")]}, "no array"),
        ({"variables": "text"}, "list of variables"),
    ],
)
def test_another_tensorflow_network_is_refused(change: dict, words: str, tmp_path: Path) -> None:
    file = tensorflow_file(tmp_path / "old.pkl", tensorflow_variables(np.random.default_rng(0)), **change)
    with pytest.raises(CheckpointError, match=words):
        families.convert(read_file(file))


# What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # The word of one layer alone, of which the others know nothing.
        ({"conv_clamp": 5.0, "only": "synthesis.b8.conv0."}, "conv_clamp"),
        ({"architecture": "resnet"}, "architecture is 'resnet'"),
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"bias_gain": 0.1}, "learning rate"),
        ({"bias_gain": 0.1, "only": "mapping.fc1."}, "learning rate"),
        ({"activation": "linear", "only": "mapping.fc1."}, "the mapping's activation is 'linear'"),
        ({"conv_clamp": "x"}, "conv_clamp"),
    ],
)
def test_a_network_built_otherwise_is_refused(changes: dict, words: str, tmp_path: Path) -> None:
    file = stylegan2_file(tmp_path / "mine.pkl", random_weights.stylegan2(), **changes)
    with pytest.raises(CheckpointError, match=words):
        families.convert(read_file(file))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("synthesis",), {"output_scale": 0.5}, "output_scale is '0.5'"),
        (("synthesis", "L1_14_6"), {"conv_clamp": 5}, "conv_clamp is '5'"),
        (("mapping", "fc1"), {"activation": "relu"}, "the mapping's activation is 'relu'"),
    ],
)
def test_a_stylegan3_built_otherwise_is_refused(
    place: tuple[str, ...], value: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = read_file(stylegan3_file(tmp_path / "mine.pkl", random_weights.stylegan3()))
    content = read_pickle(source)
    module = content["G_ema"]
    for name in place:
        names = list(module.state["_modules"])
        module = module.state["_modules"][name if name in names else names[2]]
    module.state |= value
    monkeypatch.setattr(families, "read_pickle", lambda source: content)
    with pytest.raises(CheckpointError, match=words):
        families.convert(source)


def test_another_filter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_file(stylegan2_file(tmp_path / "mine.pkl", random_weights.stylegan2()))
    content = read_pickle(source)
    block = content["G_ema"].state["_modules"]["synthesis"].state["_modules"]["b8"]
    block.state["_buffers"]["resample_filter"] = torch.full((4, 4), 1 / 16)
    monkeypatch.setattr(families, "read_pickle", lambda source: content)
    with pytest.raises(CheckpointError, match=r"synthesis\.b8\.resample_filter is not the filter"):
        families.convert(source)


@pytest.mark.parametrize("c_dim", [0, 3])
def test_a_stylegan3_without_w_avg_is_given_the_mean_of_w(c_dim: int, tmp_path: Path) -> None:
    network = random_weights.stylegan3(c_dim=c_dim)
    state = {name: tensor for name, tensor in network.state_dict().items() if name != "mapping.w_avg"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "state_dict", lambda: state)
        path, said = add(stylegan3_file(tmp_path / "mine.pkl", network), tmp_path / "models")
    assert any("taken for StyleGAN3" in line and "w_avg estimated" in line for line in said)
    z = torch.randn(4096, network.z_dim, generator=torch.Generator().manual_seed(3))
    classes = (torch.eye(c_dim)[torch.arange(4096) % c_dim],) if c_dim else ()
    network.eval().place("cpu")
    w = network.mapping(z, *classes)[:, 0]
    off = (checkpoint.load(path).state_dict()["mapping.w_avg"] - w.mean(dim=0)).abs() / w.std(dim=0)
    assert float(off.max()) < 0.1


@pytest.mark.parametrize("fault", ["shape", "NaN", "missing", "more"])
def test_weights_that_do_not_fit_are_refused_with_the_files_name(fault: str, tmp_path: Path) -> None:
    network = random_weights.r3gan()
    state = network.state_dict()
    if fault == "NaN":
        state["colours.weight"].fill_(math.nan)
    elif fault == "shape":
        state["colours.weight"] = torch.zeros(3, 9, 1, 1)
    elif fault == "missing":
        del state["stages.1.blocks.0.bias1"]
    else:
        state["stages.1.blocks.7.bias1"] = torch.zeros(3)
    network.state_dict = lambda: state  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(CheckpointError, match=r"mine\.pkl: taken for R3GAN, but"):
        families.convert(read_file(r3gan_file(tmp_path / "mine.pkl", network)))


SPOILT = [
    None,
    -1,
    1.5,
    math.nan,
    "x",
    [],
    {},
    10**9,
    torch.zeros(2),
    torch.zeros(()),
    torch.zeros(0),
    torch.zeros([1] * 8),
]


@pytest.mark.slow
@pytest.mark.parametrize("make", [stylegan2_file, stylegan3_file, r3gan_file])
def test_any_value_of_any_kind_gives_a_network_or_a_clear_error(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(average, "SAMPLES", 64)
    kind = make.__name__.removesuffix("_file")
    network = random_weights.stylegan2(c_dim=2) if kind == "stylegan2" else getattr(random_weights, kind)()
    source = read_file(make(tmp_path / "mine.pkl", network))
    value = read_pickle(source)
    monkeypatch.setattr(families, "read_pickle", lambda source: value)
    refused = 0
    for number, (place, key) in enumerate(_places(value["G_ema"])):
        honest = place[key]
        for spoilt in [
            *SPOILT[number % 4 :: 4],
            *([honest[None], honest.flatten(), honest[:0]] if _sides(honest) else []),
        ]:
            place[key] = spoilt
            try:
                families.convert(source)
            except ModelError:
                refused += 1
        place[key] = honest
    assert families.convert(source)
    assert refused > 50


def _sides(value: Any) -> int:
    return value.ndim if isinstance(value, Tensor) else 0


def _places(module: Inert) -> Iterator[tuple[dict[str, Any], str]]:
    """Every value in a stored module and those below: the dict that holds it, and its key."""
    for key, value in module.state.items():
        yield module.state, key
        if isinstance(value, dict):
            for name, part in value.items():
                yield value, name
                if isinstance(part, Inert):
                    yield from _places(part)


def test_a_forced_family_is_tried_and_said_to_be_wrong(tmp_path: Path) -> None:
    file = stylegan3_file(tmp_path / "mine.pkl", random_weights.stylegan3())
    assert add(file, tmp_path / "models", family="stylegan3")[0].is_file()
    for family in ("stylegan2", "r3gan", "stylegan2-tf"):
        with pytest.raises(
            ModelError, match=r"mine\.pkl: not a .* file .*: it looks like StyleGAN3\. Leave --family out"
        ):
            add(file, tmp_path / "models", family=family, again=True)
    with pytest.raises(ModelError, match="no family is named 'gan'"):
        add(file, tmp_path / "models", family="gan", again=True)
    with pytest.raises(ModelError, match="only a generator's file has a family"):
        bring.add("dcgan-faces", progress=lambda what, share: None, family="r3gan")
    assert isinstance(checkpoint.load(tmp_path / "models" / "mine.safetensors"), Generator)


def test_a_file_of_another_family_is_told_in_words_and_not_in_pythons(tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    for family in ("stylegan2", "stylegan3"):
        with pytest.raises(ModelError, match="it looks like R3GAN") as fault:
            add(file, tmp_path / "models", family=family)
        assert not re.search(r"Error|index|object|'NoneType'", str(fault.value))


@pytest.mark.parametrize("content", [{"a": 1}, {"G_ema": 3}, [1, 2, 3], (1, 2, 3), "text"])
def test_a_pickle_of_something_else_is_refused(content: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no network of a family"):
        add(nvidia_pickle.dump(tmp_path / "mine.pkl", content), tmp_path / "models")


def test_a_file_without_the_averaged_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="G_ema"):
        add(nvidia_pickle.dump(tmp_path / "mine.pkl", {"G": 1}), tmp_path / "models", family="stylegan3")


# The models folder -----------------------------------------------------------------------------------------------------


def test_a_file_whose_name_no_model_can_have_is_given_one(tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "my people (2).pkl", random_weights.r3gan())
    with pytest.raises(ModelError, match=r"cannot be a model's name.*--name"):
        add(file, tmp_path / "models")
    path, said = add(file, tmp_path / "models", called="people-2")
    assert path == tmp_path / "models" / "people-2.safetensors"
    assert read_header(path).name == "people-2"
    assert said[0].startswith("people-2: taken for R3GAN")
    with pytest.raises(ModelError, match="cannot be a model's name"):
        add(file, tmp_path / "models", called="../people")
    with pytest.raises(ModelError, match="only a file of your own can be named"):
        bring.add("dcgan-faces", progress=lambda what, share: None, called="faces")
    assert [path.name for path in (tmp_path / "models").glob("*.safetensors")] == ["people-2.safetensors"]


def test_the_same_file_again_is_there_at_once_and_another_asks(tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    path, _ = add(file, tmp_path / "models")
    assert add(file, tmp_path / "models") == (path, [])
    good = path.read_bytes()
    r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan(1))
    with pytest.raises(ModelError, match=r"another model named mine .*--again"):
        add(file, tmp_path / "models")
    assert path.read_bytes() == good
    add(file, tmp_path / "models", again=True)
    assert path.read_bytes() != good


@pytest.mark.parametrize("fault", ["hostile", "cut", "not a number"])
def test_a_bad_file_leaves_the_old_model(fault: str, tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    path, _ = add(file, tmp_path / "models")
    good = path.read_bytes()
    if fault == "not a number":
        network = random_weights.r3gan()
        network.colours.weight.fill_(math.inf)
        r3gan_file(file, network)
    else:
        data = file.read_bytes()
        file.write_bytes(data[:-50] if fault == "cut" else b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00truetR.")
    with pytest.raises(CheckpointError, match=r"mine\.pkl"):
        add(file, tmp_path / "models", again=True)
    assert path.read_bytes() == good
    assert [p.name for p in (tmp_path / "models").iterdir() if "new" in p.name or "part" in p.name] == []


def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="models folder cannot be written"):
        add(file, tmp_path / "models")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder without the right to write in it; root, who may write everywhere, is nobody meanwhile."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets the owner write into a read-only folder")
def test_a_read_only_data_folder_keeps_the_old_model_and_shows_it() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to everybody else
        place = Path(name)
        place.chmod(0o755)
        file, models = r3gan_file(place / "mine.pkl", random_weights.r3gan()), place / "models"
        path, _ = add(file, models)
        good, names = path.read_bytes(), sorted(models.iterdir())
        r3gan_file(file, random_weights.r3gan(1))
        other = r3gan_file(place / "other.pkl", random_weights.r3gan(2))
        with read_only(models):
            for asked, options in ((file, {"again": True}), (other, {})):
                with pytest.raises(
                    OutputError, match=r"models: the models folder cannot be written .*Give another folder"
                ):
                    add(asked, models, **options)
            assert isinstance(checkpoint.load(library.find("mine", data_dir=models)), Generator)
        assert (path.read_bytes(), sorted(models.iterdir())) == (good, names)


def test_a_full_disk_keeps_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    path, _ = add(file, tmp_path / "models")
    good = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        add(file, tmp_path / "models", again=True)
    assert path.read_bytes() == good


ADDER = """
import json, sys
from pathlib import Path
from installation.models import bring
said = []
bring.add(sys.argv[1], progress=lambda what, share: said.append(what), data_dir=Path(sys.argv[2]))
print(json.dumps(said))
"""


def test_two_at_once_both_have_the_model(tmp_path: Path) -> None:
    file = r3gan_file(tmp_path / "mine.pkl", random_weights.r3gan())
    command = [sys.executable, "-c", ADDER, str(file), str(tmp_path / "models")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        answer = process.communicate(timeout=240)[0]
        assert process.returncode == 0
        assert json.loads(answer)[-1:] in ([], ["mine is ready"])  # the later one may find it there
    checkpoint.load(tmp_path / "models" / "mine.safetensors")
