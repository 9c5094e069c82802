"""Files of other people's training code: built here with each family's exact names, and compared with an independent re-computation."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from installation.errors import CheckpointError, ModelError
from installation.models import bring, checkpoint, info, library
from installation.models.attention import NORMS, AttentionLayer
from installation.models.header import read_header
from installation.models.importers import (
    budget,
    dcgan,
    families,
    fastgan,
    lightweightgan,
    lucidrains,
    pggan,
    rosinality,
    stylegan2_tf,
)
from installation.models.importers.inert import Inert, module_tensors
from installation.models.importers.safe_pickle import read_file, read_pickle
from installation.models.importers.state import state_under
from installation.models.lucidrains import LucidrainsStyleGAN2
from installation.models.network import Generator, restore
from installation.models.spandrel_stage import SpandrelUpscaler
from tests.models import nvidia_pickle, original_layouts

MODULES = {
    "rosinality": rosinality,
    "lightweight-gan": lightweightgan,
    "lucidrains": lucidrains,
    "lucidrains, attentive": lucidrains,
    "pggan": pggan,
    "fastgan": fastgan,
    "dcgan": dcgan,
}


def read(content: Any, folder: Path) -> Any:
    """What the safe reader makes of a file that torch wrote."""
    torch.save(content, folder / "file.pt")
    return read_pickle(folder / "file.pt")


def build(converted: tuple[Any, ...]) -> Generator:
    kind, config, tensors = converted[:3]
    return restore(kind(**config), tensors)


def network_of(converted: tuple[Any, ...], folder: Path) -> Generator:
    """Built, written as a checkpoint of ours, and loaded again."""
    network = build(converted)
    header = checkpoint.describe(network, name="converted", notes=converted[3])
    checkpoint.save(folder / "converted.safetensors", network.state_dict(), header)
    loaded = checkpoint.load(folder / "converted.safetensors")
    assert isinstance(loaded, Generator)
    return loaded


def closeness(img: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the picture's range."""
    assert img.shape == expected.shape
    return float((img - expected).abs().max() / (expected.max() - expected.min()))


@pytest.mark.parametrize("average", [True, False])
def test_rosinality_makes_what_its_equations_make(tmp_path: Path, average: bool) -> None:
    state = original_layouts.rosinality([12, 8, 8, 6])
    content: dict[str, Any] = {"g_ema": state, "args": None}
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    if average:
        content["latent_avg"] = torch.randn(8)
    value = read(content, tmp_path)
    assert rosinality.matches(value)
    assert not any(module.matches(value) for name, module in MODULES.items() if name != "rosinality")
    converted = rosinality.convert(value, where="test")
    network = network_of(converted, tmp_path)
    assert ("w_avg estimated" in converted[3]) is not average
    if average:
        assert torch.equal(converted[2]["mapping.w_avg"], content["latent_avg"])
    else:
        many = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(2))
        truth = original_layouts.rosinality_w(state, many).mean(dim=0)
        torch.testing.assert_close(converted[2]["mapping.w_avg"], truth, atol=0.03, rtol=0)
    ws = network.mapping(z)
    torch.testing.assert_close(ws[:, 0], original_layouts.rosinality_w(state, z), atol=1e-5, rtol=1e-5)
    for i in range(2):
        expected = original_layouts.rosinality_picture(state, ws[i : i + 1, 0])
        assert closeness(network.synthesis(ws)[i : i + 1], expected) <= 1e-5


def test_rosinality_without_noise_maps_gets_constant_ones(tmp_path: Path) -> None:
    state = original_layouts.rosinality([8, 6])
    bare = {name: tensor for name, tensor in state.items() if not name.startswith("noises.")}
    first, second = (rosinality.convert({"g_ema": dict(bare)}, where="test")[2] for _ in range(2))
    assert torch.equal(first["synthesis.b8.conv1.noise_const"], second["synthesis.b8.conv1.noise_const"])


@pytest.mark.parametrize("sides", [(60, 60), (1, 100_000), (0, 4)])
def test_rosinality_of_any_aspect_is_bounded_before_noise_is_drawn(sides: tuple[int, int]) -> None:
    state = original_layouts.rosinality([2] * 7, style=2, layers=1)
    state = {name: tensor for name, tensor in state.items() if not name.startswith("noises.")}
    state["input.input"] = torch.randn(1, 2, *sides)
    with pytest.raises(ModelError, match=r"pictures of \d+ × \d+ px or more; from 1 px to 2048 can be made"):
        rosinality.convert({"g_ema": dict(state)}, where="test")
    state["input.input"] = torch.randn(1, 2, 2, 3)
    assert rosinality.convert({"g_ema": dict(state)}, where="test")[3].startswith("rosinality's StyleGAN2, 192 px")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_tensor_of_many_names_counts_each_time(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored and read once, and would be copied for every name."""
    monkeypatch.setattr(budget, "SMALL", 0)
    many = dict.fromkeys([f"SE.net.{i}.weight" for i in range(6)], torch.ones(64, 64).to(dtype))
    torch.save({"GAN": many}, tmp_path / "mine.pt")
    with pytest.raises(CheckpointError, match=r"mine\.pt: the tensors claim more numbers than the file holds"):
        families.convert(read_file(tmp_path / "mine.pt"))
    torch.save({"params_ema": many}, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"mine\.pth: the tensors claim more numbers than the file holds"):
        SpandrelUpscaler.from_file(tmp_path / "mine.pth")
    module = Inert("A", (), {"_parameters": many, "_buffers": {}, "_modules": {}})
    with pytest.raises(CheckpointError, match="the tensors claim more numbers than the file holds"):
        module_tensors(module, where="mine.pkl")
    array = many["SE.net.0.weight"].numpy()
    rows = [[f"mapping/Dense{i}/weight", array] for i in range(6)]
    network = Inert(stylegan2_tf.NETWORK, (), {"version": 4, "variables": rows})
    with pytest.raises(CheckpointError, match="the tensors claim more numbers than the file holds"):
        stylegan2_tf.convert((network,) * 3, where="mine.pkl")


def test_a_name_of_a_million_wrappers_takes_no_time() -> None:
    state = state_under({"module." * 1_000_000 + "_orig_mod.a": torch.zeros(1)}, ())
    assert state is not None
    assert list(state) == ["a"]


LUCIDRAINS: dict[str, dict[str, Any]] = {
    "1.9.0": {},
    "1.0.4": {"blur": False},
    "1.5.14": {"constant": False},
    "1.7.0": {"attention": [1, 3], "norm": "scale"},
    "1.8.1": {"attention": [2], "norm": "deviation", "constant": False},
    "1.8.4": {"attention": [0, 2], "norm": "places"},
    "1.8.9": {"attention": [0, 1, 3], "colours": 4},
}


@pytest.mark.parametrize("version", LUCIDRAINS)
@pytest.mark.parametrize("rate", [None, 0.02])
def test_lucidrains_makes_what_its_equations_make(tmp_path: Path, version: str, rate: float | None) -> None:
    """The equations were compared with the code of its releases, which made the same pictures to 2e-6."""
    options = LUCIDRAINS[version]
    state = original_layouts.lucidrains([12, 8, 8, 6], **options)
    if rate:
        (tmp_path / ".config.json").write_text(json.dumps({"lr_mlp": rate}))
    value = read({"GAN": state, "version": version}, tmp_path)
    assert lucidrains.matches(value)
    assert families.detect(value) is next(row for row in families.FAMILIES if row.name == "lucidrains")
    converted = lucidrains.convert(value, where=str(tmp_path / "file.pt"))
    norm = options.get("norm", "variance")
    assert converted[1]["attention_norm"] == norm
    network = network_of(converted, tmp_path)
    z = torch.randn(3, 12, generator=torch.Generator().manual_seed(1))
    ws = network.mapping(z)
    torch.testing.assert_close(ws[:, 0], original_layouts.lucidrains_w(state, z, rate or 0.1))
    ws = torch.stack([ws[0], torch.cat([ws[1, :2], ws[2, 2:]])])  # the second is mixed of two styles
    img = network.synthesis(ws)
    for i in range(2):
        expected = original_layouts.lucidrains_picture(state, ws[i : i + 1], converted[2]["noise"], norm)
        if len(expected[0]) == 4:
            expected = 1 + (expected[:, :3] - 1) * expected[:, 3:]  # on white
        assert float(((expected > 0) & (expected < 1)).float().mean()) > 0.05
        assert float((img[i : i + 1] - (expected * 2 - 1)).abs().max()) <= 2e-5


def test_what_only_lucidrains_discriminator_has_is_not_looked_at() -> None:
    state = original_layouts.lucidrains([4, 4])
    named = {
        "D.quantize_blocks.0.fn.embed": torch.zeros(4, 8),
        "D_aug.D.attn_blocks.0.0.fn.fn.to_k.weight": torch.zeros(1),
    }
    both = [lucidrains.convert({"GAN": each}, where="test") for each in (state, state | named)]
    assert both[0][1] == both[1][1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("GE.attns.0.0.fn.fn.to_k.weight", r"from before release 1\.6.*does not tell \(written by 1\.5\.14\)"),
        ("GE.attns.2.0.fn.g", r"unknown tensor 'GE\.attns\.2\.0\.fn\.g'"),
        ("GE.blocks.0.to_rgb.upsample.1.f", r"is not \[1, 2, 1\]"),
        ("", "before release 1.0"),
    ],
)
def test_lucidrains_networks_of_another_kind_are_named(name: str, reason: str) -> None:
    state = original_layouts.lucidrains([4, 4])
    if name:
        state[name] = torch.zeros(3)
    else:
        del state["GE.initial_conv.weight"]
    with pytest.raises(ModelError, match=reason):
        lucidrains.convert({"GAN": state, "version": "1.5.14"}, where="test")


def test_a_version_that_is_no_text_is_not_spelt_out() -> None:
    laughs: list[Any] = ["ha"]
    for _ in range(9):  # a hundred bytes each in the file; together they would fill the memory
        laughs = [laughs] * 10
    for name, module in (("lightweight-gan", lightweightgan), ("lucidrains", lucidrains)):
        content = original_layouts.files()[name]
        value = {"GAN": content["GAN"] | {"GE.attns.extra": torch.zeros(1)}, "version": laughs}
        with pytest.raises(
            ModelError,
            match=r"written by an unknown release; 0\.21 to 1\.2 are known|unknown tensor 'GE\.attns\.extra'$",
        ):
            module.convert(value, where="test")


@pytest.mark.parametrize("norm", NORMS)
def test_lucidrains_attention_of_faint_features_is_that_of_its_release(norm: str) -> None:
    """Where what a norm divides by is as small as what it adds to it, the releases differ most. In float64: so little is left of x less
    its mean that float32 rounds it by more than the bound."""
    state = original_layouts.lucidrains([6, 5], attention=[1], norm=norm)
    version = "1.8.8" if norm == "variance" else "1.8.7"
    _, config, tensors, _ = lucidrains.convert({"GAN": state, "version": version}, where="test")
    assert config["attention_norm"] == norm
    layer = AttentionLayer(6, norm)
    parts = {name.removeprefix("attentions.0."): t for name, t in tensors.items() if name.startswith("attentions.0.")}
    layer.load_state_dict(parts)
    x = torch.randn(1, 6, 4, 5, generator=torch.Generator().manual_seed(1)).double() * 1e-3
    wide = {name: tensor.double() for name, tensor in state.items()}
    expected = original_layouts.lucidrains_attention(wide, "GE.attns.1", x, norm)
    with torch.no_grad():
        torch.testing.assert_close(layer.double()(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "fault", [{"attention": [3]}, {"attention": [1, 1]}, {"attention_norm": "x"}, {"colours": 5}, {"constant": 1}]
)
def test_a_lucidrains_network_that_cannot_be_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(fault))):
        LucidrainsStyleGAN2(**{"z_dim": 4, "channels": [4, 4, 4]} | fault)


@pytest.mark.parametrize(
    ("frequencies", "colours", "doubling"),
    [(False, 3, "inputs"), (True, 3, "inputs"), (False, 1, "outputs"), (True, 4, "inputs"), (False, 3, "repeat")],
)
def test_lightweight_gan_makes_what_its_equations_make(
    tmp_path: Path, frequencies: bool, colours: int, doubling: str
) -> None:
    """The network was compared with the code of releases 0.23.3, 1.0.0 and 1.2.1 too, which made the same pictures to 2e-6."""
    torch.manual_seed(0)
    original = original_layouts.LightweightGAN(
        8, [8, 6, 6, 5, 5, 4], [1], frequencies=frequencies, colours=colours, doubling=doubling
    ).eval()
    value = read({"GAN": {f"GE.{name}": t for name, t in original.state_dict().items()}, "version": "1.2.1"}, tmp_path)
    assert families.detect(value) is next(row for row in families.FAMILIES if row.name == "lightweight-gan")
    converted = lightweightgan.convert(value, where="test")
    assert (converted[1]["gates"], converted[1]["doubling"]) == ([[1, 4], [2, 5]], doubling)
    network = network_of(converted, tmp_path)
    original_layouts.give_noise(original, {f"layers.{i}.0.3": converted[2][f"layers.{i}.noise"] for i in range(6)})
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        img = network.synthesis(network.mapping(z))
        for i in range(2):
            expected = original(z[i : i + 1])
            if colours == 4:
                expected = 1 + (expected[:, :3] - 1) * expected[:, 3:]  # on white
            assert float(((expected > 0) & (expected < 1)).float().mean()) > 0.2
            assert float((img[i : i + 1] - (expected * 2 - 1)).abs().max()) <= 2e-5


@pytest.mark.parametrize("channels", [[8], [12, 8, 6]])
def test_a_progressive_gan_makes_what_its_equations_make(tmp_path: Path, channels: list[int]) -> None:
    torch.manual_seed(0)
    original = original_layouts.ProgressiveGAN(10, channels)
    value = read({"avgG": original.state_dict(), "netG": {}, "netD": {}}, tmp_path)
    assert pggan.matches(value)
    assert not any(module.matches(value) for name, module in MODULES.items() if name != "pggan")
    network = network_of(pggan.convert(value, where="test"), tmp_path)
    z = torch.randn(3, 10, generator=torch.Generator().manual_seed(1))
    assert closeness(network.synthesis(network.mapping(z)), original(z).detach()) <= 1e-5
    assert not torch.allclose(network(z, 0.5), network(z, 1.0))  # psi is not undone by the scaling of z


def test_fastgan_makes_what_batch_norm_over_many_batches_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own spectral norm and batch norm, its running statistics averaged over the same z, are the second opinion."""
    monkeypatch.setattr(fastgan, "PIXELS", 512 * 64 * 64)
    torch.manual_seed(0)
    original = original_layouts.FastGAN(10, [12, 10, 8, 6, 4], projected=False)
    original_layouts.settle(original)
    state = original.state_dict()
    value = read({"g": {f"module.{name}": tensor for name, tensor in state.items()}, "d": {}}, tmp_path)
    assert fastgan.matches(value)
    assert not any(module.matches(value) for name, module in MODULES.items() if name != "fastgan")
    converted = fastgan.convert(value, where="test")
    network = network_of(converted, tmp_path)
    assert converted[3] == "FastGAN, 64 px, batch norm estimated over 512 z"
    original_layouts.give_noise(original, fastgan.Plain(state, normalise=False).noise)
    rng = torch.Generator().manual_seed(0)
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    for module in original.modules():
        module.training = isinstance(module, torch.nn.BatchNorm2d)  # spectral norm's vectors stay
    with torch.no_grad():
        for _ in range(512 // fastgan.BATCH):
            original(torch.randn(fastgan.BATCH, 10, generator=rng))
        original.eval()
        z = torch.randn(3, 10, generator=rng)
        assert closeness(network.synthesis(network.mapping(z)), original(z)) <= 1e-5


def test_fastgans_list_of_averaged_parameters_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgan, "PIXELS", 0)
    torch.manual_seed(0)
    original = original_layouts.FastGAN(6, [4, 4, 4], projected=False)
    averaged = [parameter.detach().clone() for parameter in original.parameters()]
    averaged[-1] = averaged[-1].flip(0)
    value = read({"g": original.state_dict(), "g_ema": averaged}, tmp_path)
    found, plain = (fastgan.convert(v, where="test")[2]["final.weight"] for v in (value, {"g": original.state_dict()}))
    share = found / plain.flip(0)  # one number, the ratio of the spectral norms
    torch.testing.assert_close(share, share[0, 0, 0, 0].expand_as(share))
    with pytest.raises(ModelError, match="not a list of the network's parameters"):
        fastgan.convert({"g": original.state_dict(), "g_ema": averaged[:-1]}, where="test")


def test_fastgans_batches_are_as_large_as_their_features_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    state = original_layouts.FastGAN(2, [64, 64, 32, 16, 4], projected=False).state_dict()
    plain = fastgan.Plain(state, normalise=False)
    widest = 4 * 16 * 64 * 64  # bytes of what the last convolution takes
    seen: list[int] = []
    monkeypatch.setattr(plain, "picture", lambda z, norm: seen.append(len(z)))
    for features, batch in ((16 * widest, 16), (16 * widest - 1, 8), (5 * widest, 4), (widest, 1)):
        monkeypatch.setattr(fastgan, "FEATURES", features)
        plain.estimate_statistics()
        assert seen == [batch] * (plain.samples // batch)
        seen.clear()


def test_a_fastgan_whose_features_no_memory_holds_is_refused() -> None:
    """Of 60 KB; sixteen pictures' features at 1024 px would be 69 GB."""
    state = original_layouts.FastGAN(2, [1] * 8 + [512], projected=False).state_dict()
    with pytest.raises(ModelError, match="a picture's features at 1024 px would take 4096 MiB, over the limit of 512"):
        fastgan.convert({"g": state}, where="test")


def test_a_fastgan_of_more_resolutions_than_there_are_makes_no_noise_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 channel, 90 KB: its last map alone would be a gigabyte."""
    monkeypatch.setattr(fastgan, "seeded_noise", lambda *size: pytest.fail("noise was made"))
    state = dict(original_layouts.FastGAN(8, [1, 1, 1], projected=True).state_dict())
    for level in range(3, 13):
        state |= {name.replace("feat_16", f"feat_{4 << level}"): t for name, t in state.items() if "feat_16." in name}
    with pytest.raises(ModelError, match="more than 9 resolutions"):
        fastgan.convert({"g": state}, where="test")


def inert(module: torch.nn.Module) -> Inert:
    """What the safe reader keeps of a module that was stored as an object."""
    state = {
        "_parameters": dict(module._parameters),
        "_buffers": dict(module._buffers),
        "_non_persistent_buffers_set": frozenset(),
        "_modules": {name: inert(child) for name, child in module._modules.items() if child is not None},
    }
    return Inert(type(module).__name__, (), state)


def projected(original: original_layouts.FastGAN, c_dim: Any = 0) -> dict[str, Any]:
    """What the safe reader gives of a Projected GAN file."""
    original_layouts.settle(original.train())
    original.eval()
    generator = torch.nn.Module()
    generator.synthesis = original
    stored = inert(generator)
    assert isinstance(stored.state, dict)
    stored.state["c_dim"] = c_dim
    return {"G": inert(generator), "G_ema": stored}


# The large and the lite network, and the large one of 128 px with the layers that it does not run.
PROJECTED = pytest.mark.parametrize(
    ("lite", "channels", "idle"),
    [(False, [12, 10, 8, 6, 4], False), (True, [12, 10, 8, 6, 4], False), (False, [6, 5, 4, 3, 3, 2, 1], True)],
)


@PROJECTED
def test_projected_gan_keeps_the_statistics_of_its_file(
    tmp_path: Path, lite: bool, channels: list[int], idle: bool
) -> None:
    torch.manual_seed(0)
    original = original_layouts.FastGAN(10, channels, projected=True, lite=lite, idle=idle)
    for module in original.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    value = projected(original)
    assert fastgan.is_projected(value)
    assert not fastgan.is_projected({"G_ema": 3})
    network = network_of(fastgan.convert_projected(value, where="test"), tmp_path)
    assert network.size == (128 if idle else 64)
    original_layouts.give_noise(original, fastgan.Plain(original.state_dict(), normalise=True).noise)
    z = torch.randn(3, 10)
    with torch.no_grad():
        assert closeness(network.synthesis(network.mapping(z)), original(z)) <= 1e-5


@PROJECTED
def test_projected_gans_classes_make_what_their_equations_make(
    tmp_path: Path, lite: bool, channels: list[int], idle: bool
) -> None:
    torch.manual_seed(0)
    original = original_layouts.FastGAN(10, channels, projected=True, classes=9, lite=lite, idle=idle)
    value = projected(original, c_dim=3)
    assert families.detect(value) is next(row for row in families.FAMILIES if row.name == "projected-gan")
    converted = fastgan.convert_projected(value, where="test")
    assert converted[3] == f"Projected GAN's FastGAN, {128 if idle else 64} px, 3 classes"
    network = network_of(converted, tmp_path)
    blocks = {f"blocks.{i}.layers.{j}.noise": f"feat_{8 << i}.{(2, 6)[j]}" for i in range(5) for j in range(2)}
    original_layouts.give_noise(
        original, {theirs: converted[2][ours] for ours, theirs in blocks.items() if ours in converted[2]}
    )
    z = torch.randn(4, 10)
    shares = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.25, 0.75]])  # the last is blended of two
    with torch.no_grad():
        expected = original(z, shares @ original.embed.weight[:3])
        assert closeness(network.synthesis(network.mapping(z, shares)), expected) <= 1e-5
        assert torch.equal(network.mapping(z[:1])[0], network.mapping(z[:1], shares[:1])[0])
        assert closeness(expected[2:3], original(z[2:3], original.embed.weight[:1])) > 0.1  # classes are seen
        ws = network.mapping(z, shares)
        torch.testing.assert_close(network.truncate(ws, 0.5), torch.cat([ws[..., :10] * 0.5, ws[..., 10:]], dim=2))


@pytest.mark.parametrize("classes", [0, 3])
def test_models_add_reads_projected_gans_own_objects(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a state dict: modules as pickle stores them, with the hooks of their spectral norms."""
    torch.manual_seed(0)
    original = original_layouts.FastGAN(6, [4, 4, 4], projected=True, classes=classes)
    generator = torch.nn.Module()
    generator.synthesis = original
    generator.__dict__["c_dim"] = classes
    theirs = {}
    for part in {type(module) for module in original.modules()}:
        if part.__module__ == original_layouts.__name__:
            monkeypatch.setattr(part, "__module__", "pg_modules.blocks")
            theirs[f"pg_modules.blocks.{part.__name__}"] = part
    with nvidia_pickle.importable(set(), theirs):
        (tmp_path / "mine.pkl").write_bytes(pickle.dumps({"G": generator, "G_ema": generator}))
    path = bring.add(str(tmp_path / "mine.pkl"), progress=lambda what, share: None, data_dir=tmp_path / "m")
    added = checkpoint.load(path)
    wanted = build(fastgan.convert_projected(projected(original, classes), where="test"))
    assert added.config == wanted.config
    told = dict(info.describe(library.Entry("mine", path, read_header(path))))
    assert (told.get("classes") is not None) is bool(classes)


@pytest.mark.parametrize("c_dim", [0, -3, True, None, 10**30, "3"])
def test_projected_gan_has_as_many_classes_as_it_says_or_has_room_for(c_dim: Any) -> None:
    original = original_layouts.FastGAN(4, [4, 3, 2], projected=True, classes=9)
    config = fastgan.convert_projected(projected(original, c_dim), where="test")[1]
    assert (config["c_dim"], config["embedding"]) == (1 if c_dim is True else 9, 4)


def test_projected_gans_classes_in_half_precision_make_nearly_the_same_picture() -> None:
    torch.manual_seed(0)
    original = original_layouts.FastGAN(10, [12, 10, 8, 6, 4], projected=True, classes=3)
    network = build(fastgan.convert_projected(projected(original), where="test"))
    ws = network.mapping(torch.randn(3, 10), torch.eye(3))
    img = network.place("cpu").synthesis(ws)
    half = network.place("cpu", torch.float16).synthesis(ws)
    assert half.dtype == torch.float32
    assert 0 < closeness(half, img) < 5e-3


@pytest.mark.parametrize("key", ["netG_state_dict", "G", None])
def test_a_dcgan_of_any_width_is_told_from_its_shapes(tmp_path: Path, key: str | None) -> None:
    state: dict[str, Tensor] = {}
    torch.manual_seed(0)
    widths = [7, 10, 6, 3]
    for i, (a, b) in enumerate(pairwise(widths)):
        state[f"main.{3 * i}.weight"] = torch.randn(a, b, 4, 4)
        if b != 3:
            state |= {f"main.{3 * i + 1}.{part}": torch.rand(b) + 0.5 for part in dcgan.NORM}
    value = read({key: state, "epoch": 3} if key else state, tmp_path)
    assert dcgan.matches(value)
    _, config, _, title = dcgan.convert(value, where="test")
    assert (config, title) == ({"z_dim": 7, "channels": [10, 6]}, "DCGAN, 16 px")


Spoil = Callable[[dict[str, Tensor], str], None]


def drop(state: dict[str, Tensor], name: str) -> None:
    del state[name]


def widen(state: dict[str, Tensor], name: str) -> None:
    state[name] = torch.zeros(*(side + 1 for side in state[name].shape))


def flatten(state: dict[str, Tensor], name: str) -> None:
    state[name] = state[name].flatten()[:2]


def poison(state: dict[str, Tensor], name: str) -> None:
    state[name] = torch.full_like(state[name], float("nan"))


def rename(state: dict[str, Tensor], name: str) -> None:
    state[f"strange.{name}"] = state.pop(name)


@pytest.mark.parametrize("spoil", [drop, widen, flatten, poison, rename])
@pytest.mark.parametrize(
    "family", ["rosinality", "lucidrains", "lucidrains, attentive", "lightweight-gan", "pggan", "fastgan"]
)
def test_every_spoilt_tensor_gives_a_clear_error(family: str, spoil: Spoil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgan, "PIXELS", 0)
    content = original_layouts.files()[family]
    (key,) = content
    # What a network may do without, and what is not looked at.
    free = ("kernel", "num_batches_tracked", "to_128", "noises", "upsample.1.f", "0.1.f", "toRGBLayers.0")
    statistics = ("running_mean", "running_var") if family == "fastgan" and spoil is poison else ()
    for name in content[key]:
        if any(part in name for part in free + statistics):
            continue
        state = dict(content[key])
        spoil(state, name)
        if name in state and torch.equal(state[name], content[key][name]):
            continue  # one number is flat already
        with pytest.raises((ModelError, CheckpointError)):
            build(MODULES[family].convert({key: state}, where="test"))


@pytest.mark.parametrize("spoil", [drop, widen, flatten, poison, rename])
@pytest.mark.parametrize("lite", [False, True])
def test_every_spoilt_tensor_of_projected_gans_classes_gives_a_clear_error(lite: bool, spoil: Spoil) -> None:
    torch.manual_seed(0)
    original = original_layouts.FastGAN(4, [4, 4, 3, 2], projected=True, classes=3, lite=lite)
    whole = projected(original)["G_ema"].state["_modules"]["synthesis"]
    names = [name for name in module_tensors(whole, where="") if "num_batches_tracked" not in name]
    assert any("bn.gain" in name for name in names) is lite
    for name in names:
        if name in ("embed.weight", "to_big.bias") and spoil is drop:
            continue  # of another network, refused by the names that are left; and free
        generator = projected(original)
        part = generator["G_ema"].state["_modules"]["synthesis"]
        *path, leaf = name.split(".")
        for each in path:
            part = part.state["_modules"][each]
        group = part.state["_parameters"] if leaf in part.state["_parameters"] else part.state["_buffers"]
        before = group[leaf]
        spoil(group, leaf)
        if leaf in group and torch.equal(group[leaf], before):
            continue
        with pytest.raises((ModelError, CheckpointError)):
            build(fastgan.convert_projected(generator, where="test"))


@pytest.mark.parametrize("name", ["rosinality", "lucidrains", "lightweight-gan", "pggan", "fastgan"])
def test_models_add_finds_the_family_out_by_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastgan, "PIXELS", 0)
    torch.save(original_layouts.files()[name], tmp_path / "mine.pt")
    said: list[str] = []
    path = bring.add(str(tmp_path / "mine.pt"), progress=lambda what, share: said.append(what), data_dir=tmp_path / "m")
    title = next(row.title for row in families.FAMILIES if row.name == name)
    assert any(line.startswith("mine: taken for") for line in said), said
    described = dict(info.describe(library.Entry("mine", path, read_header(path))))
    assert described["work"] != "not known"
    assert title.split()[0].casefold() in described["notes"].casefold() or "StyleGAN2" in described["notes"]


@pytest.mark.parametrize("name", ["lucidrains", "lucidrains, attentive", "lightweight-gan", "pggan", "fastgan"])
def test_half_precision_makes_nearly_the_same_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """StyleGAN2, which rosinality's becomes, has a test of its own."""
    monkeypatch.setattr(fastgan, "PIXELS", 64)
    network = build(MODULES[name].convert(original_layouts.files()[name], where="test"))
    ws = network.mapping(torch.randn(3, network.z_dim, generator=torch.Generator().manual_seed(1)))
    img = network.place("cpu").synthesis(ws)
    half = network.place("cpu", torch.float16).synthesis(ws)
    assert half.dtype == torch.float32
    assert 0 < closeness(half, img) < 5e-3


def test_a_cut_file_is_refused_at_every_length(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(original_layouts.files()["pggan"], buffer)
    data = buffer.getvalue()
    for length in range(0, len(data), max(1, len(data) // 40)):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            read_pickle(tmp_path / "cut.pth")
