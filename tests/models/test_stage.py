"""Our own upscaling stage: exact small version, size-agnostic, tiles, fast path against training path, style, checkpoint, cascade, cost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.errors import ModelError
from installation.models import checkpoint, cost, projection, random_weights, tiles
from installation.models.cascade import Cascade
from installation.models.header import read_index
from installation.models.stage import Phases, Stage, liveliness, shuffle

SHAPES = [((8,), (1,)), ((8, 16), (0, 1)), ((8, 12, 16), (1, 0, 2))]


def stage(
    widths=(8, 12, 16), blocks=(0, 1, 1), scale: int = 4, w_dim: int = 0, calm: float = 0.01, seed: int = 0
) -> Stage:
    """Random weights, large enough that every layer matters; in train mode."""
    network = Stage(widths=widths, blocks=blocks, scale=scale, w_dim=w_dim, calm=calm)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.parameters():
            fan = tensor[0].numel() if tensor.ndim > 1 else 25
            tensor.normal_(0, 1.2 / fan**0.5, generator=rng)
    return network.train()


def ready(network: Stage) -> Stage:
    return network.requires_grad_(False).eval().place("cpu")


def picture(height: int = 24, width: int = 32, n: int = 1, seed: int = 5) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# --- the pair of filters ---


@pytest.mark.parametrize("scale", projection.SCALES)
def test_the_pair_is_biorthogonal(scale: int) -> None:
    """Σ down[n] up[n + k·scale] = δ_k, which makes down∘up the identity; up keeps a flat picture flat."""
    down, up = projection.taps(scale)
    padded = F.pad(down, ((len(up) - len(down)) // 2,) * 2)
    assert [float((padded * up).sum())] == pytest.approx([1], abs=1e-12)
    for k in range(1, 5):
        assert float((padded[: -k * scale] * up[k * scale :]).sum()) == pytest.approx(0, abs=1e-12)
    assert up.view(-1, scale).sum(dim=0).tolist() == pytest.approx([1] * scale, abs=1e-12)
    assert float(down.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", projection.SCALES)
def test_enlarged_and_shrunk_again_a_picture_is_itself_up_to_the_border(scale: int) -> None:
    lo = picture(7, 9, 2)
    assert (projection.down(projection.up(lo, scale), scale) - lo).abs().max() < 2e-6


@pytest.mark.parametrize("scale", projection.SCALES)
def test_an_even_slope_stays_one(scale: int) -> None:
    """No stairs: of a slope of 1 a small pixel, an enlargement that keeps but flat pictures has some of 0.18."""
    across = torch.arange(24.0)
    slope = across + 0.3 * across[:, None]
    fine = (torch.arange(24 * scale) + 0.5) / scale - 0.5
    inner = slice(4 * scale, -4 * scale)
    out = projection.up(slope.expand(1, 3, 24, 24).contiguous(), scale)
    assert (out - (fine + 0.3 * fine[:, None]))[..., inner, inner].abs().max() < 1e-4


@pytest.mark.parametrize("scale", projection.SCALES)
def test_down_keeps_what_the_small_picture_can_hold_and_dampens_what_would_alias(scale: int) -> None:
    """Gratings, in parts of the small picture's Nyquist frequency; an area average keeps 0.79 of the first."""
    down, _ = projection.taps(scale)
    x = torch.arange(3 * scale) - (3 * scale - 1) / 2

    def passes(frequency: float) -> float:
        return abs(float((down * torch.cos(torch.pi * frequency / scale * x)).sum()))

    assert passes(0.75) > 0.9
    assert passes(1.5) < 0.37
    assert passes(2) < 0.05


@pytest.mark.parametrize("scale", projection.SCALES)
def test_on_phases_the_projection_is_the_same(scale: int) -> None:
    img, lo = picture(6 * scale, 5 * scale, 2), picture(6, 5, 2, seed=1)
    phases = projection.project_phases(F.pixel_unshuffle(img, scale), lo, scale)
    assert (F.pixel_shuffle(phases, scale) - projection.project(img, lo, scale)).abs().max() < 2e-6


# --- the network ---


@pytest.mark.parametrize(("widths", "blocks"), SHAPES)
@pytest.mark.parametrize("scale", projection.SCALES)
def test_the_small_version_of_what_comes_out_is_what_went_in(widths, blocks, scale: int) -> None:
    network, lo = ready(stage(widths, blocks, scale)), picture(20, 28, 2)
    out = network(lo)
    assert out.shape == (2, 3, 20 * scale, 28 * scale)
    assert out.dtype == torch.float32
    assert (out - projection.up(lo, scale)).abs().mean() > 0.01, "the network adds something"
    assert (projection.down(out, scale) - lo).abs().max() < 1e-5


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_fast_path_gives_what_training_computes(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stage, "cpu_channels_last", channels_last)
    network, lo = stage(), picture()
    trained = network(lo).detach()
    assert (ready(network)(lo) - trained).abs().max() < 1e-5


def test_with_zero_weights_it_is_the_smooth_enlargement() -> None:
    network = stage()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.zero_()
    assert (ready(network)(picture()) - projection.up(picture(), 4)).abs().max() < 1e-6


def test_gradients_reach_every_weight_and_the_input() -> None:
    network, lo = stage(w_dim=4), picture().requires_grad_()
    network(lo, torch.randn(1, 4)).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters())
    assert lo.grad is not None
    assert bool(lo.grad.abs().sum() > 0)


def test_a_stage_can_be_trained_after_one_has_run_in_a_cascade() -> None:
    for kernel in (projection._down_kernel, projection._up_kernel):
        kernel.cache_clear()
    with torch.inference_mode():
        ready(stage())(picture())
    stage()(picture()).mean().backward()


def test_the_input_is_left_alone_and_the_output_depends_on_nothing_else() -> None:
    network, lo = ready(stage()), picture()
    first, second = network(lo), network(lo)
    assert torch.equal(first, second)
    assert torch.equal(lo, picture())


@pytest.mark.parametrize(("widths", "blocks"), SHAPES)
@pytest.mark.parametrize("scale", projection.SCALES)
def test_tiles_equal_the_whole(widths, blocks, scale: int) -> None:
    network = ready(stage(widths, blocks, scale))
    img = picture(96, 132)
    assert (tiles.enlarge(network, img, 24) - network(img)).abs().max() < 1e-5


@pytest.mark.parametrize(("widths", "blocks"), SHAPES)
def test_no_pixel_looks_further_than_the_stated_receptive_field(widths, blocks) -> None:
    network = ready(stage(widths, blocks, 2))
    assert network.receptive_field is not None
    side = 4 * (2 * network.receptive_field // 4 + 2)
    img, at = picture(side, side), side // 2
    other = img.clone()
    other[:, :, at, at] += 1
    changed = (network(img) - network(other)).abs().amax(dim=(0, 1)).nonzero() // 2
    reach = int((changed - at).abs().max())
    assert reach <= network.receptive_field
    assert reach >= network.receptive_field - 2 * network.input_multiple, "and the statement wastes little"


def test_without_a_latent_the_style_is_neutral() -> None:
    network, lo = ready(stage(w_dim=6)), picture(n=2)
    plain = network(lo)
    assert torch.equal(network(lo, torch.zeros(2, 6)), plain)
    styled = network(lo, torch.randn(2, 6, generator=torch.Generator().manual_seed(0)))
    assert not torch.allclose(styled, plain)
    assert (projection.down(styled, 4) - lo).abs().max() < 1e-5


def test_half_precision_stays_close_and_keeps_the_small_version() -> None:
    network, lo = stage(), picture()
    exact = ready(network)(lo)
    half = network.place("cpu", torch.float16)(lo)
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 2e-2
    assert (projection.down(half, 4) - lo).abs().max() < 1e-5


class Strided(Stage):
    """The same network with plain strided steps instead of blurs: what the blurs are there against."""

    def prepare(self) -> None:
        super().prepare()
        for step in self.steps:
            fir = torch.zeros_like(step.get_buffer("fir"))
            fir[:, :, 1, 1] = 1
            step.register_buffer("fir", fir, persistent=False)


def test_blurs_make_it_steadier_under_shifts_than_strides() -> None:
    """A picture moved by one pixel: a pyramid of two halvings is only bound to follow moves of four."""

    def unsteadiness(network: Stage) -> float:
        img = F.avg_pool2d(picture(100, 100), 3, stride=1)
        still, moved = network(img[:, :, :96, :96]), network(img[:, :, 1:97, 1:97])
        detail = (still - projection.up(img[:, :, :96, :96], 4))[:, :, 44:-40, 44:-40]
        apart = still[:, :, 44:-40, 44:-40] - moved[:, :, 40:-44, 40:-44]
        return float(apart.square().mean() / detail.square().mean())

    strided = Strided(widths=(8, 12, 16), blocks=(0, 1, 1), scale=4, calm=0.01)
    strided.load_state_dict(stage().state_dict())
    assert unsteadiness(ready(stage())) < 0.5 * unsteadiness(ready(strided))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widths": [8], "blocks": [0, 0], "scale": 2}, "1 widths but 2"),
        ({"widths": [8], "blocks": [0], "scale": 3}, "scale must be one of"),
        ({"widths": [], "blocks": [], "scale": 2}, "widths must be a list"),
        ({"widths": [8], "blocks": [0], "scale": 2, "w_dim": -1}, "w_dim"),
        ({"widths": [8], "blocks": [0], "scale": 2, "calm": -1.0}, "calm"),
    ],
)
def test_a_config_that_is_none_is_refused(config: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Stage(**config)


@pytest.mark.parametrize("scale", projection.SCALES)
def test_no_detail_is_drawn_on_even_ground(scale: int) -> None:
    colour = torch.tensor([-0.3, 0.1, 0.6]).view(1, 3, 1, 1)
    even = colour.expand(1, 3, 24, 24).contiguous()
    assert (ready(stage(scale=scale))(even) - colour).abs().max() < 1e-6
    half = even.clone()
    half[..., 12:] = picture(24, 12)
    out = ready(stage(scale=scale))(half)
    detail = (out - projection.up(half, scale)).abs().mean(dim=(0, 1, 2))
    # Steps are looked at 3 px around, and the correction of what is drawn reaches further.
    assert detail[: (12 - 3 - projection.reach(scale)) * scale].max() < 1e-6
    assert detail[-6 * scale :].min() > 0.01


def test_what_repeats_with_the_pixels_of_the_input_is_not_drawn_even_without_calm() -> None:
    """Against the plain last convolution, whose phases differ on even ground; at the picture's border it sees other things."""
    network = Phases(5, 4)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        network.weight.normal_(generator=rng)
        network.bias.normal_(generator=rng)
    even = torch.randn(1, 5, 1, 1, generator=rng).expand(1, 5, 16, 16)
    plain = F.conv2d(even, network.weight, network.bias)
    assert plain.unflatten(1, (3, 16)).std(dim=2).min() > 0.5
    drawn = network(even)[..., 4:-4, 4:-4].unflatten(1, (3, 16))
    assert drawn.std(dim=2).max() < 1e-5
    assert torch.allclose(drawn.mean(dim=2), plain.unflatten(1, (3, 16)).mean(dim=2)[..., :8, :8], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_half_precision_nothing_is_left_of_it_by_rounding(dtype: torch.dtype, layout: torch.memory_format) -> None:
    network = Phases(5, 4)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        network.weight.normal_(generator=rng)
        network.bias.normal_(generator=rng)
    network.eval().place_kernel(dtype, layout)
    even = torch.randn(1, 5, 1, 1, generator=rng).expand(1, 5, 16, 16).to(dtype).contiguous(memory_format=layout)
    drawn = network(even)
    assert drawn.dtype == dtype
    assert drawn.is_contiguous(memory_format=layout)
    phases = drawn.unflatten(1, (3, 16))
    assert torch.equal(phases, phases[:, :, :1].expand_as(phases))


@pytest.mark.parametrize("training", [False, True])
def test_of_the_last_convolution_the_neighbours_mean_is_taken_where_phases_differ(training: bool) -> None:
    """The slow twin: the convolution whole, and of each phase the mean around it, less that of all phases."""
    network = Phases(5, 2)
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        network.weight.normal_(generator=rng)
        network.bias.normal_(generator=rng)
    x = torch.randn(2, 5, 12, 14, generator=rng)
    whole = F.conv2d(x, network.weight, network.bias, padding=1).unflatten(1, (3, 4))
    unlike = whole - whole.mean(dim=2, keepdim=True)
    expected = whole.flatten(1, 2) - F.avg_pool2d(unlike.flatten(1, 2), 5, stride=1, padding=2)
    network.train(training)
    network.place_kernel(torch.float32, torch.contiguous_format)
    found = network(x)
    assert torch.allclose(found[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3], atol=1e-4)


def test_liveliness_is_the_share_that_its_words_say() -> None:
    columns = torch.arange(32.0).expand(1, 3, 32, 32) * 0.02
    inner = liveliness(columns, 0.02)[..., 4:-4, 4:-4]
    # Steps of 0.02 along rows, none along columns: a mean square of half of 0.02².
    assert torch.allclose(inner, torch.full_like(inner, 1 / 3), atol=1e-4)
    assert torch.equal(liveliness(torch.full((1, 3, 8, 8), 0.3), 0.02), torch.zeros(1, 1, 8, 8))
    assert liveliness(picture(), 0.01).min() > 0.95


@pytest.mark.parametrize("scale", projection.SCALES)
def test_the_shuffle_is_torchs_in_either_layout_and_contiguous(scale: int) -> None:
    phases = torch.randn(2, 3 * scale**2, 5, 7)
    for each in (phases, phases.contiguous(memory_format=torch.channels_last)):
        out = shuffle(each, scale)
        assert torch.equal(out, F.pixel_shuffle(phases, scale))
        assert out.is_contiguous()


@pytest.mark.parametrize("size", [(3, 3), (3, 7), (9, 4)])
@pytest.mark.parametrize("scale", projection.SCALES)
def test_the_projection_of_inference_is_that_of_training(scale: int, size: tuple[int, int]) -> None:
    phases, lo = torch.randn(2, 3 * scale**2, *size), torch.randn(2, 3, *size)
    slow = projection.project_phases(phases.clone().requires_grad_(), lo, scale).detach()
    assert torch.allclose(projection.project_phases(phases, lo, scale), slow, atol=1e-5)


# --- file, cascade, cost ---


def test_it_goes_through_a_checkpoint_into_a_cascade(tmp_path: Path) -> None:
    network = stage(scale=2)
    path = tmp_path / "stage.safetensors"
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    checkpoint.save(path, tensors, checkpoint.describe(network, name="stage-x2"))
    header, _ = read_index(path)
    assert (header.arch, header.role, header.scale) == ("stage", "upscaler", 2)
    loaded = checkpoint.load(path)
    assert isinstance(loaded, Stage)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    assert (loaded(picture()) - ready(network)(picture())).abs().max() < 1e-5
    whole = Cascade(random_weights.dcgan(), [checkpoint.load(path)], device="cpu")
    tiled = Cascade(random_weights.dcgan(), [checkpoint.load(path)], device="cpu", tile=8)
    ws = whole.mapping(torch.zeros(1, whole.generator.z_dim))
    assert whole(ws).shape == (1, 3, 64, 64)
    assert whole(ws).is_contiguous()
    assert (tiled(ws) - whole(ws)).abs().max() < 1e-5


def test_its_cost_is_told_from_the_file_alone(tmp_path: Path) -> None:
    network = stage(widths=(8, 16), blocks=(0, 1), scale=4)
    checkpoint.save(tmp_path / "s.safetensors", network.state_dict(), checkpoint.describe(network, name="s"))
    full, half = 3 * 8 * 9 + 8 * (48 + 3) * 9, 8 * 16 * 9 + 2 * 16 * 16 * 9 + 16 * 8
    assert cost.macs(*read_index(tmp_path / "s.safetensors"), side=64) == 64 * 64 * full + 32 * 32 * half


@pytest.mark.parametrize("scale", projection.SCALES)
def test_the_pair_is_as_exact_inside_half_precision(scale: int) -> None:
    small = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    large = projection.up(small, scale)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(projection.up(small, scale), large)
        assert torch.equal(projection.down(large, scale), projection.down(large.clone(), scale))
        assert torch.allclose(projection.down(projection.up(small, scale), scale), small, atol=1e-5)
