"""Foreign upscalers through spandrel, with real architectures and random weights: same picture as spandrel's own, files, tiles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from installation.errors import CheckpointError, ModelError
from installation.models import bring, checkpoint, info, library, random_weights, spandrel_stage, tiles
from installation.models.cascade import Cascade
from installation.models.header import read_header
from installation.models.plan import picture_size
from installation.models.spandrel_stage import ConstantNoise, SpandrelUpscaler, normalize, require_spandrel

# SwinIR's own code; torch says it once a process.
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
ARCHITECTURES = ["ESRGAN", "Compact", "SPAN", "SwinIR"]
CONVOLUTIONAL = ["ESRGAN", "Compact"]
# Of each way in which a network is odd to draw with: a view of its input, weights of five axes, an input changed in place, contents
# that decide what is computed, sides of a multiple only, a window wider than the picture that `models add` draws first, square
# pictures alone.
ODD = ["IPT", "FFTformer", "RCAN", "SeemoRe", "HVICIDNet", "SAFMN", "SwinIR of wide windows", "Uformer"]


@cache
def _network(name: str) -> nn.Module:
    """A small network of spandrel's, with seeded weights."""
    spandrel = require_spandrel()
    torch.manual_seed(11)
    make = {
        "ESRGAN": lambda: spandrel.architectures.ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=4),
        "Compact": lambda: spandrel.architectures.Compact.Compact(num_feat=8, num_conv=2, upscale=2),
        "SPAN": lambda: spandrel.architectures.SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
        "SwinIR": lambda: spandrel.architectures.SwinIR.SwinIR(
            img_size=16, window_size=4, depths=[2], embed_dim=12, num_heads=[2], upscale=2, upsampler="pixelshuffle"
        ),
        "IPT": lambda: spandrel.architectures.IPT.IPT(scale=[2], num_layers=1, n_feats=4, patch_size=24, num_heads=12),
        "FFTformer": lambda: spandrel.architectures.FFTformer.FFTformer(
            dim=8, num_blocks=[1, 1, 1], num_refinement_blocks=1
        ),
        "RCAN": lambda: spandrel.architectures.RCAN.RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4),
        "SeemoRe": lambda: spandrel.architectures.SeemoRe.SeemoRe(scale=2, num_layers=1, embedding_dim=8),
        "HVICIDNet": lambda: spandrel.architectures.HVICIDNet.HVICIDNet(channels=[4, 4, 8, 16], heads=[1, 2, 4, 4]),
        "SAFMN": lambda: spandrel.architectures.SAFMN.SAFMN(dim=8, n_blocks=1, upscaling_factor=2),
        "SwinIR of wide windows": lambda: spandrel.architectures.SwinIR.SwinIR(
            img_size=64, window_size=32, depths=[1], embed_dim=4, num_heads=[1], upscale=2, upsampler="pixelshuffle"
        ),
        "RestoreFormer": lambda: spandrel.architectures.RestoreFormer.RestoreFormer(
            n_embed=16, embed_dim=32, ch=32, ch_mult=(1, 1, 1, 1, 1, 1), num_res_blocks=1, z_channels=32
        ),
        "Uformer": lambda: spandrel.architectures.Uformer.Uformer(embed_dim=4, depths=[1] * 9),
        "AuraSR": lambda: spandrel.architectures.AuraSR.AuraSR(
            dim=4,
            image_size=None,
            input_image_size=None,
            style_network={"dim_in": 8, "dim_out": 32, "depth": 1},
            down_dim_mults=(2, 2, 2),
            up_dim_mults=(1, 2, 2, 2, 2),
            attn_depths=(1, 1, 1, 1, 1),
            mid_attn_depth=1,
            self_attn_dim_head=4,
            skip_connect_scale=0.4,
        ),
        "DnCNN": lambda: spandrel.architectures.DnCNN.DnCNN(in_nc=3, out_nc=3, nc=8, nb=4),
        # A window that spandrel does not read out of the tensors.
        "HAT": lambda: spandrel.architectures.HAT.HAT(
            window_size=7,
            depths=[1],
            num_heads=[2],
            embed_dim=8,
            num_feat=8,
            squeeze_factor=2,
            compress_ratio=2,
            upscale=2,
            upsampler="pixelshuffle",
        ),
    }
    model = make[name]().requires_grad_(False).eval()
    if (
        name == "RestoreFormer"
    ):  # torch's default codebook lies within rounding of the middle, and the nearest entry is chosen
        nn.init.normal_(model.get_parameter("quantize.embedding.weight"))
    if name in CONVOLUTIONAL:  # torch's default would make the picture depend on its input by less than a grey level
        for parameter in model.parameters():
            if parameter.ndim == 4:
                nn.init.kaiming_normal_(parameter, a=0.2).mul_(0.5)
    return model


def _img(side: int = 24) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize("name", [*ARCHITECTURES, *ODD])
def test_the_work_is_told_of_every_kind(name: str, tmp_path: Path) -> None:
    """Of convolutions at one size exactly: all of Compact's."""
    path = tmp_path / "weights.safetensors"
    stage = SpandrelUpscaler.from_state(_network(name).state_dict())
    checkpoint.save(path, stage.state_dict(), checkpoint.describe(stage, name="weights"))
    work = dict(info.describe(library.Entry("weights", path, read_header(path))))["work"]
    told, _, words = work.partition(" ")
    assert words == "GFLOP a picture of 256 × 256 px in"
    if name == "Compact":
        kernels = sum(parameter.numel() for parameter in _network(name).parameters() if parameter.ndim == 4)
        assert told == f"{2 * kernels * 256**2 / 1e9:.3g}"
    assert float(told) > (0.1 if name in ARCHITECTURES else 0.03)


@pytest.mark.parametrize("name", ODD)
def test_what_models_add_takes_is_drawn_as_spandrel_draws_it(name: str, tmp_path: Path) -> None:
    """On the CPU's channels_last, higher than wide, and the picture that came in is left as it was."""
    file = tmp_path / "odd.pth"
    torch.save(_network(name).state_dict(), file)
    stage = checkpoint.load(bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data")).place("cpu")
    original = require_spandrel().ModelLoader("cpu").load_from_file(file)
    img = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    came = img.clone()
    with torch.inference_mode():
        expected = original((img + 1) / 2) * 2 - 1
        assert expected.std() > 0.05
        for _ in range(2):
            assert (stage(img) - expected).abs().max() < 1e-5
    assert torch.equal(img, came)


def test_models_add_refuses_what_cannot_be_drawn(tmp_path: Path) -> None:
    file = tmp_path / "odd.pth"
    torch.save(_network("HAT").state_dict(), file)
    with pytest.raises(CheckpointError, match=r"odd\.pth: taken for HAT, ×2, but it cannot draw a picture of 80x81"):
        bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.safetensors"))


def test_a_network_of_one_size_alone_is_no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """As GFPGAN would be, whose picture has 512 px whatever comes in, were it not known."""
    stage = SpandrelUpscaler.from_state(_network("Compact").state_dict())
    monkeypatch.setattr(stage.net, "forward", lambda x: x.new_zeros(1, 3, 64, 64))
    with pytest.raises(ModelError, match="of 16x17 it makes 64x64, and spandrel says it enlarges x2"):
        stage.check_drawing()


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> SpandrelUpscaler:
    """A stage of pictures of 32x32 alone."""
    monkeypatch.setitem(spandrel_stage._FIXED_SIDES, "Compact", 32)
    return SpandrelUpscaler.from_state(_network("Compact").state_dict())


def test_a_stage_of_one_size_alone_draws_what_has_it_whole_whatever_the_tile(fixed: SpandrelUpscaler) -> None:
    fixed.check_drawing()
    cascade = Cascade(random_weights.dcgan(channels=[8, 8, 8]), [fixed], tile=8, device="cpu")
    img = _img(32)
    assert cascade.size == (64, 64)
    with torch.inference_mode():
        assert torch.equal(cascade.enlarge(img), fixed(img).contiguous())


def test_a_stage_of_one_size_alone_is_refused_elsewhere_from_its_header_and_by_the_cascade(
    fixed: SpandrelUpscaler, tmp_path: Path
) -> None:
    path, base = tmp_path / "fixed.safetensors", random_weights.dcgan(channels=[8, 8, 8, 8])
    checkpoint.save(path, fixed.state_dict(), checkpoint.describe(fixed, name="fixed"))
    with pytest.raises(ModelError, match=r"cascade\.stages\[0\]: fixed takes pictures of 32x32 alone, and gets 64x64"):
        picture_size(checkpoint.describe(base, name="base"), [read_header(path)])
    with pytest.raises(ModelError, match=r"stage 1 \(spandrel x2\): it takes pictures of 32x32 alone, and gets 64x64"):
        Cascade(base, [checkpoint.load(path)], device="cpu")
    said = dict(info.describe(library.Entry("fixed", path, read_header(path))))
    assert said["takes"] == "32 × 32 px alone"
    assert said["work"].endswith("GFLOP a picture of 32 × 32 px in")


@pytest.mark.slow  # it has but one size, of 87 million parameters
def test_gfpgan_draws_512_px_as_spandrel_does(tmp_path: Path) -> None:
    file = tmp_path / "faces.pth"
    torch.manual_seed(11)
    network = require_spandrel().architectures.GFPGAN.GFPGAN()
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and parameter.numel() == 1:  # how much of the noise
            nn.init.constant_(parameter, 0.1)
    torch.save(network.state_dict(), file)
    stage = checkpoint.load(bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data")).place("cpu")
    original = require_spandrel().ModelLoader("cpu").load_from_file(file)
    img = _img(512)
    with torch.inference_mode():
        drawn = stage(img)
        with ConstantNoise():
            expected = original((img + 1) / 2) * 2 - 1
        assert (original((img + 1) / 2) * 2 - 1 - expected).abs().max() > 1e-3, "the noise shows"
        assert (drawn - expected).abs().max() < 1e-4
        assert torch.equal(stage(img), drawn)


def test_noise_that_a_network_draws_is_the_same_for_every_picture() -> None:
    state = _network("AuraSR").state_dict()
    stage, original = (
        SpandrelUpscaler.from_state(state),
        require_spandrel().ModelLoader("cpu").load_from_state_dict(state),
    )
    img = _img(16)
    with torch.inference_mode():
        assert not torch.equal(original(img), original(img))
        with ConstantNoise():
            expected = original((img + 1) / 2) * 2 - 1
        for _ in range(2):
            assert (stage(img) - expected).abs().max() < 1e-5


def test_restoreformer_needs_no_torchvision(tmp_path: Path) -> None:
    """Of 128x64: its norms are over so few numbers of a smaller picture that rounding shows."""
    file = tmp_path / "faces.pth"
    torch.save(_network("RestoreFormer").state_dict(), file)
    stage = checkpoint.load(bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data"))
    original = require_spandrel().ModelLoader("cpu").load_from_file(file).model
    img = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode():
        expected = original(img)[0].clamp(-1, 1)
        assert (stage(img) - expected).abs().max() < 1e-5
        assert (stage.place("cpu")(img) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("inplace", [False, True])
def test_normalize_is_the_arithmetic_torchvision_documents(inplace: bool) -> None:
    x, mean, std = torch.rand(2, 3, 5, 7), [0.5, 0.25, 0.1], [0.5, 2.0, 0.3]
    came = x.clone()
    shape = (1, 3, 1, 1)
    done = normalize(x, mean, std, inplace)
    assert torch.equal(done, (came - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape))
    assert torch.equal(x, done if inplace else came)


@pytest.mark.parametrize(("takes", "gives"), [(1, 1), (1, 3), (4, 4)])
def test_pictures_of_other_channels(takes: int, gives: int) -> None:
    torch.manual_seed(11)
    spandrel = require_spandrel()
    state = spandrel.architectures.Compact.Compact(
        num_in_ch=takes, num_out_ch=gives, num_feat=8, num_conv=2, upscale=2
    ).state_dict()
    stage, original = SpandrelUpscaler.from_state(state), spandrel.ModelLoader("cpu").load_from_state_dict(dict(state))
    stage.check_drawing()
    img = _img()
    x = (img + 1) / 2
    with torch.inference_mode():
        if takes == gives == 1:
            expected = torch.cat([original(x[:, i : i + 1]) for i in range(3)], dim=1)
        elif takes == 1:
            expected = original((x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True))
        else:
            expected = original(torch.cat([x, torch.ones(1, 1, 24, 24)], dim=1))[:, :3]
        assert (stage(img) - (expected * 2 - 1)).abs().max() < 1e-5
    assert stage.receptive_field == 5
    work = {3 * 256**2 * (9 * 8 + 2 * 9 * 64 + 9 * 8 * 4), 256**2 * 9 * (takes * 8 + 2 * 64 + 8 * gives * 4)}
    assert stage.macs(256) in work


def test_other_numbers_of_channels_are_refused() -> None:
    state = require_spandrel().architectures.Compact.Compact(
        num_in_ch=2, num_out_ch=2, num_feat=8, num_conv=2, upscale=2
    )
    with pytest.raises(ModelError, match="it has 2 input and 2 output channels, not 1, 3 or 4"):
        SpandrelUpscaler.from_state(state.state_dict())


def test_a_stage_that_does_not_enlarge_stands_in_a_cascade() -> None:
    """Tiled, and with a stage behind it that does."""
    stages = [SpandrelUpscaler.from_state(_network(name).state_dict()) for name in ("DnCNN", "Compact")]
    base = random_weights.dcgan(channels=[8, 8, 8])
    headers = [checkpoint.describe(network, name="net") for network in (base, *stages)]
    cascade = Cascade(base, stages, tile=9, device="cpu")
    assert cascade.sizes == [(32, 32), (32, 32), (64, 64)]
    assert cascade.size == picture_size(headers[0], headers[1:])
    img = _img(32)
    with torch.inference_mode():
        assert (cascade.enlarge(img) - stages[1](stages[0](img))).abs().max() < 1e-5


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_pth_gives_the_picture_spandrel_gives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"params_ema": _network(name).state_dict()}, path)
    stage = SpandrelUpscaler.from_file(path)
    original = require_spandrel().ModelLoader("cpu").load_from_file(path)
    assert stage.config == {"architecture": name}
    assert stage.scale == original.scale
    expected = original((_img() + 1) / 2) * 2 - 1
    assert torch.allclose(stage(_img()), expected, atol=1e-6)
    # Other memory format, other order of sums; SPAN's picture is rounding of numbers to 30, cut to 0..1.
    assert torch.allclose(stage.place("cpu")(_img()), expected, atol=1e-4)


def test_a_safetensors_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(_network("Compact").state_dict(), path)
    assert SpandrelUpscaler.from_file(path).config == {"architecture": "Compact"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_our_checkpoint_brings_the_same_network_back(name: str, tmp_path: Path) -> None:
    stage = SpandrelUpscaler.from_state(_network(name).state_dict())
    path = tmp_path / "stage.safetensors"
    checkpoint.save(path, stage.state_dict(), checkpoint.describe(stage, name="stage", licence="CC0-1.0"))
    again = checkpoint.load(path)
    assert isinstance(again, SpandrelUpscaler)
    assert torch.allclose(again(_img()), stage(_img()), atol=1e-6)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_tiles_equal_the_whole(name: str) -> None:
    stage = SpandrelUpscaler.from_state(_network(name).state_dict())
    assert stage.receptive_field is not None
    side = 3 * stage.receptive_field + 7
    assert (tiles.enlarge(stage, _img(side), 9) - stage(_img(side))).abs().max() < 1e-5


def test_a_network_with_attention_states_no_receptive_field_and_is_drawn_whole_within_the_tile() -> None:
    stage = SpandrelUpscaler.from_state(_network("SwinIR").state_dict())
    assert stage.receptive_field is None
    assert torch.equal(tiles.enlarge(stage, _img(), 24), stage(_img()))
    with pytest.raises(ModelError, match="cannot be tiled"):
        tiles.enlarge(stage, _img(), 23)


def test_the_receptive_field_may_be_asked_for_while_a_picture_is_drawn() -> None:
    stage = SpandrelUpscaler.from_state(_network("Compact").state_dict())
    with torch.inference_mode():
        assert stage.receptive_field == 5


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "SPAN"])
def test_the_stated_receptive_field_covers_the_true_one(name: str) -> None:
    """NaN spreads through every operation that reads it, so it shows what an output pixel depends on."""
    stage = SpandrelUpscaler.from_state(_network(name).state_dict())
    reach = stage.receptive_field
    assert reach is not None
    img = _img(2 * reach + 11)
    centre = img.shape[-1] // 2
    img[:, :, centre, centre] = float("nan")
    reached = stage(img).isnan().any(dim=1)[0].nonzero() // stage.scale
    assert centre - reach <= reached.min() <= centre
    assert centre <= reached.max() <= centre + reach


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (trap,)

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"params": Payload()}, protocol=2))
    with pytest.raises(CheckpointError, match="asks for"):
        SpandrelUpscaler.from_file(path)
    torch.save({"params": Payload()}, path)
    with pytest.raises(CheckpointError, match="asks for"):
        SpandrelUpscaler.from_file(path)
    assert not trap.exists()


@pytest.mark.parametrize("length", [0, 1, 100, 2000])
def test_a_file_cut_short_is_one_clear_error(length: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(_network("Compact").state_dict(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError) as caught:
        SpandrelUpscaler.from_file(path)
    assert caught.value.where == str(path)


def test_a_packed_file_and_a_giant_of_four_bytes_are_refused(tmp_path: Path) -> None:
    stored, packed, giant = (tmp_path / f"{name}.pth" for name in ("stored", "packed", "giant"))
    torch.save({"a": torch.zeros(1000)}, stored)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with pytest.raises(CheckpointError, match="packed members"):
        SpandrelUpscaler.from_file(packed)
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, giant)
    with pytest.raises(CheckpointError, match="more numbers than the file holds"):
        SpandrelUpscaler.from_file(giant)


BOMBS: dict[str, dict[str, tuple[int, ...]]] = {
    "wide": {
        "body.0.weight": (4096, 3, 3, 3),
        "body.1.weight": (4096,),
        "body.40.weight": (12, 4096, 3, 3),
        "body.40.bias": (12,),
    },
    "deep": {
        "body.0.weight": (8, 3, 3, 3),
        "body.1.weight": (8,),
        "body.400000.weight": (12, 8, 3, 3),
        "body.400000.bias": (12,),
    },
    "deep ESRGAN": {
        "model.0.weight": (64, 3, 3, 3),
        "model.1.sub.3000.RDB1.conv1.0.weight": (32, 64, 3, 3),
        "model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3),
        "model.3.weight": (64, 64, 3, 3),
        "model.6.weight": (64, 64, 3, 3),
        "model.8.weight": (3, 64, 3, 3),
        "model.10.weight": (3, 64, 3, 3),
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_claims_a_giant_network_is_refused_before_it_is_built(name: str) -> None:
    """Without a limit these take 36 s and all memory."""
    with pytest.raises(ModelError, match="far larger than the file"):
        SpandrelUpscaler.from_state({key: torch.zeros(shape) for key, shape in BOMBS[name].items()})


def test_tensors_of_no_known_network_are_refused() -> None:
    with pytest.raises(ModelError, match="knows no network"):
        SpandrelUpscaler.from_state({"something.weight": torch.zeros(3, 3)})


@pytest.mark.parametrize(
    "content", [{0: 1.0}, {None: 1.0}, {"params": {1: 1.0}}, {"module.a": 1.0, 3: 1.0}, {"a": 1.0, 3: float("nan")}]
)
def test_names_that_are_no_text_are_refused(content: dict, tmp_path: Path) -> None:
    def tensors(value: dict) -> dict:
        return {k: tensors(v) if isinstance(v, dict) else torch.full((4, 4, 3, 3), v) for k, v in value.items()}

    torch.save(tensors(content), tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="the file holds no plain state dict"):
        SpandrelUpscaler.from_file(tmp_path / "odd.pth")


def test_numbers_of_four_bits_are_named(tmp_path: Path) -> None:
    index = b'{"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}'
    (tmp_path / "small.safetensors").write_bytes(len(index).to_bytes(8, "little") + index + b"xx")
    with pytest.raises(CheckpointError, match="numbers of the type F4, which cannot be read"):
        SpandrelUpscaler.from_file(tmp_path / "small.safetensors")


def test_a_file_of_tensors_alone_may_be_larger_than_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AuraSR's has 2.3 GiB."""
    assert spandrel_stage._MAX_BYTES > spandrel_stage.MAX_BYTES
    state, plain, pickled = _network("Compact").state_dict(), tmp_path / "a.safetensors", tmp_path / "a.pth"
    save_file(state, plain)
    torch.save(state, pickled)
    monkeypatch.setattr(spandrel_stage, "MAX_BYTES", 1000)
    assert len(spandrel_stage.read_upscaler(plain).data) == plain.stat().st_size
    with pytest.raises(CheckpointError, match="over the limit"):
        spandrel_stage.read_upscaler(pickled)
    monkeypatch.setattr(spandrel_stage, "_MAX_BYTES", 1000)
    with pytest.raises(CheckpointError, match="over the limit"):
        spandrel_stage.read_upscaler(plain)


def test_nan_weights_are_refused() -> None:
    state = {name: tensor.clone() for name, tensor in _network("Compact").state_dict().items()}
    state["body.0.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"body\.0\.weight.*NaN"):
        SpandrelUpscaler.from_state(state)


def test_a_stripped_state_dict_is_refused() -> None:
    state = dict(_network("Compact").state_dict())
    del state["body.2.bias"]
    with pytest.raises(ModelError):
        SpandrelUpscaler.from_state(state)


def test_without_spandrel_the_error_names_the_extra() -> None:
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'spandrel': raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, No())\n"
        "from installation.models.spandrel_stage import require_spandrel\n"
        "from installation.errors import ModelError\n"
        "try: require_spandrel()\n"
        "except ModelError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "upscalers" in done.stdout
    assert "spandrel" in done.stdout


def test_a_file_that_is_made_shorter_while_it_is_read_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was mapped would be a bus error now."""
    path = tmp_path / "weights.safetensors"
    save_file(_network("ESRGAN").state_dict(), path)
    make = SpandrelUpscaler.from_state.__func__

    def shorten(cls: type[SpandrelUpscaler], state: dict[str, Tensor]) -> SpandrelUpscaler:
        os.truncate(path, 100)
        return make(cls, state)

    monkeypatch.setattr(SpandrelUpscaler, "from_state", classmethod(shorten))
    assert SpandrelUpscaler.from_file(path).scale == 4


def test_no_stand_in_stays_behind() -> None:
    module = sys.modules.get("torchvision.transforms.functional")
    assert module is None or module.__spec__ is not None


def test_models_add_takes_an_upscaler_s_file_and_keeps_another_of_its_name(tmp_path: Path) -> None:
    file, data = tmp_path / "my-esrgan.pth", tmp_path / "data"
    torch.save({"params_ema": _network("ESRGAN").state_dict()}, file)
    said: list[str] = []
    path = bring.add(str(file), progress=lambda what, _: said.append(what), data_dir=data)
    assert path == library.find("my-esrgan", data_dir=data)
    assert read_header(path).scale == 4
    assert said[0] == "my-esrgan: taken for ESRGAN, ×4"
    assert "licence" in said[1]
    stage = checkpoint.load(path)
    assert isinstance(stage, SpandrelUpscaler)
    assert torch.allclose(stage(_img()), SpandrelUpscaler.from_file(file)(_img()), atol=1e-5)
    torch.save({"params_ema": _network("Compact").state_dict()}, file)
    with pytest.raises(ModelError, match="is there already"):
        bring.add(str(file), progress=lambda *_: None, data_dir=data)
    assert read_header(path).scale == 4
    assert read_header(bring.add(str(file), progress=lambda *_: None, data_dir=data, again=True)).scale == 2


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".safetensors"])
def test_models_add_says_what_an_unknown_file_was_looked_at_as(suffix: str, tmp_path: Path) -> None:
    tensors = {"model.diffusion_model.in.weight": torch.zeros(4, 4, 3, 3)}
    file = tmp_path / f"odd{suffix}"
    save_file(tensors, file) if suffix == ".safetensors" else torch.save({"state_dict": tensors}, file)
    looked = "as an upscaler" if suffix == ".safetensors" else "as a generator and as an upscaler"
    with pytest.raises(CheckpointError, match=f"looked at {looked}, and no network that is known here") as fault:
        bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data")
    assert "docs/networks.md" in fault.value.fix
    assert ("--family" in fault.value.fix) == (suffix != ".safetensors")


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\3\4 torn"])
def test_models_add_says_what_is_wrong_with_a_file(content: bytes, tmp_path: Path) -> None:

    file = tmp_path / "bad.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        bring.add(str(file), progress=lambda *_: None, data_dir=tmp_path / "data")
