"""The cascade: chain checked, tiles equal the whole, devices and dtypes, the recorded call, packing to Frames."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from installation.errors import ConfigError, EngineError, ModelError
from installation.models import random_weights, tiles
from installation.models.cascade import Cascade
from installation.models.device import Placement, choose
from installation.models.graph import GraphedCall
from installation.models.network import Network, Upscaler
from installation.models.pack import Packer, pack_slow
from installation.models.stage import Stage


class Fussy(Upscaler):
    """An upscaler with demands."""

    arch = "spandrel"
    scale = 2
    receptive_field = None
    input_multiple = 3
    min_input = 50

    def forward(self, img: Tensor) -> Tensor:
        return img.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _cascade(**options) -> Cascade:
    stages = [random_weights.srvgg(scale=2, unit_range=True), random_weights.srvgg(1, scale=3, num_conv=1)]
    return Cascade(random_weights.dcgan(), stages, device="cpu", **options)


def _ws(cascade: Cascade, n: int = 1) -> Tensor:
    return cascade.mapping(torch.randn(n, cascade.generator.z_dim, generator=torch.Generator().manual_seed(9)))


# --- the chain ---


def test_a_cascade_gives_what_its_stages_give_in_a_row() -> None:
    cascade = _cascade()
    img = cascade.generator.synthesis(_ws(cascade))
    for stage in cascade.stages:
        img = stage(img)
    assert torch.equal(cascade(_ws(cascade)), img)
    assert torch.equal(cascade.enlarge(cascade.generator.synthesis(_ws(cascade))), img)


def test_size_is_width_and_height_after_the_last_stage() -> None:
    wide = random_weights.stylegan2(base=[4, 6])
    cascade = Cascade(wide, [random_weights.srvgg(scale=4)], device="cpu")
    assert cascade.sizes == [(48, 32), (192, 128)]
    assert cascade.size == (192, 128)
    img = cascade(_ws(cascade, 2))
    assert img.shape == (2, 3, 128, 192)
    assert img.dtype == torch.float32
    assert img.is_contiguous()


def _styled_stage(w_dim: int, scale: int = 2) -> Stage:
    stage = Stage(widths=[8, 12], blocks=[1, 1], scale=scale, w_dim=w_dim)
    rng = torch.Generator().manual_seed(3)
    for tensor in stage.parameters():
        torch.nn.init.normal_(tensor, 0, 1 / tensor[0].numel() ** 0.5, generator=rng)
    return stage


@pytest.mark.parametrize("tile", [None, 16])
def test_a_stage_that_takes_w_gets_the_mean_over_the_rows(tile: int | None) -> None:
    base = random_weights.stylegan2()
    cascade = Cascade(base, [random_weights.srvgg(), _styled_stage(16)], device="cpu", tile=tile)
    ws = torch.randn(2, base.num_ws, 16, generator=torch.Generator().manual_seed(1))
    first, last = cascade.stages
    lo = base.synthesis(ws)
    assert (cascade(ws) - last(first(lo), ws.mean(dim=1))).abs().max() < 1e-5
    assert torch.equal(cascade.enlarge(lo, ws), cascade(ws))
    neutral = cascade.enlarge(lo)
    assert torch.equal(neutral, cascade.enlarge(lo, torch.zeros_like(ws)))
    assert (neutral - cascade(ws)).abs().mean() > 1e-3
    other = torch.cat([ws[:1], ws[:1]])
    assert (cascade(other)[0] - cascade(ws)[0]).abs().max() < 1e-5, "each picture has its own"


def test_without_w_it_is_z_without_the_class() -> None:
    base = random_weights.r3gan(c_dim=3, embedding=4)
    ws = base.mapping(z := torch.randn(2, base.z_dim), torch.eye(3)[:2])
    assert ws.shape[2] > base.z_dim
    assert torch.equal(base.stage_w(ws), z)
    cascade = Cascade(base, [_styled_stage(base.z_dim)], device="cpu")
    assert (cascade(ws) - cascade.enlarge(base.synthesis(ws))).abs().mean() > 1e-3


def test_a_moved_plane_and_w_go_together() -> None:
    base = random_weights.stylegan3()
    cascade = Cascade(base, [_styled_stage(base.w_dim)], device="cpu")
    ws, plane = _ws(cascade), torch.eye(3)
    assert (cascade(ws, plane) - cascade.enlarge(base.synthesis(ws, plane), ws)).abs().max() < 1e-5


def test_a_generator_alone_is_a_cascade() -> None:
    cascade = Cascade(random_weights.dcgan(), device="cpu")
    assert cascade.size == (32, 32)
    assert cascade(_ws(cascade)).shape == (1, 3, 32, 32)


def test_truncation_takes_a_tensor_psi() -> None:
    cascade = _cascade()
    ws = _ws(cascade)
    assert torch.equal(cascade.truncate(ws, torch.tensor(0.5)), ws * 0.5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cascade(random_weights.srvgg()), r"stage 0 \(srvgg x2\): it enlarges"),
        (lambda: Cascade(random_weights.dcgan(), [random_weights.dcgan()]), r"stage 1 \(dcgan\): it makes"),
        (
            lambda: Cascade(random_weights.dcgan(), [random_weights.srvgg(), Fussy()]),
            r"stage 2 .*multiples of 3.*64x64",
        ),
        (lambda: Cascade(random_weights.stylegan2(base=[3, 3]), [Fussy()]), r"stage 1 .*from 50 px on, and gets 24x24"),
        (lambda: Cascade(random_weights.stylegan2(base=[9, 9]), [Fussy()], tile=32), r"stage 1 .*cannot be tiled"),
        (lambda: Cascade(random_weights.dcgan(), [random_weights.srvgg(scale=8)] * 4), r"stage 4 .*16384"),
        (lambda: Cascade(random_weights.dcgan(), tile=2), r"tile"),
        (
            lambda: Cascade(random_weights.stylegan2(), [random_weights.srvgg(), _styled_stage(9)]),
            r"stage 2 \(stage x2\): it is conditioned on a w of 9, and the generator gives one of 16",
        ),
    ],
)
def test_a_stage_that_does_not_fit_is_named_when_the_cascade_is_built(
    build: Callable[[], Cascade], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        build()


# --- tiles ---


@pytest.mark.parametrize("tile", [8, 11, 20, 64])
@pytest.mark.parametrize("unit_range", [False, True])
def test_tiles_equal_the_whole_also_at_the_pictures_border(tile: int, unit_range: bool) -> None:
    stage = random_weights.srvgg(num_feat=16, num_conv=4, scale=4, unit_range=unit_range).place("cpu")
    img = torch.rand(1, 3, 45, 61, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert (tiles.enlarge(stage, img, tile) - stage(img)).abs().max() < 1e-5


def test_a_tiled_cascade_equals_the_whole_one() -> None:
    whole, tiled = _cascade(), _cascade(tile=16)
    assert (tiled(_ws(tiled)) - whole(_ws(whole))).abs().max() < 1e-5


def test_one_pixel_less_of_overlap_would_show() -> None:
    """The receptive field is needed in full: the test above would find a cut."""
    stage = random_weights.srvgg(num_conv=3).place("cpu")
    img = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    exact = stage(img)
    assert stage.receptive_field is not None
    stage.receptive_field -= 1
    assert (tiles.enlarge(stage, img, 8) - exact).abs().max() > 1e-5


@given(length=st.integers(1, 300), tile=st.integers(1, 80), overlap=st.integers(0, 40), multiple=st.integers(1, 8))
@settings(max_examples=300)
def test_a_plan_covers_every_pixel_once_with_its_surroundings(
    length: int, tile: int, overlap: int, multiple: int
) -> None:
    length *= multiple
    window, spans = tiles.plan(length, tile, overlap, multiple)
    assert [span.begin for span in spans] == [0, *[span.end for span in spans[:-1]]]
    assert spans[-1].end == length
    for span in spans:
        assert span.start % multiple == 0
        assert window % multiple == 0
        assert 0 <= span.start <= max(span.begin - overlap, 0)
        assert min(span.end + overlap, length) <= span.start + window <= length


def test_all_tiles_have_one_shape() -> None:
    seen = set()

    class Watched(Fussy):
        receptive_field = 4
        input_multiple = 1

        def forward(self, img: Tensor) -> Tensor:
            seen.add(tuple(img.shape))
            return super().forward(img)

    tiles.enlarge(Watched(), torch.zeros(1, 3, 50, 37), 16)
    assert seen == {(1, 3, 24, 24)}


# --- devices ---


def test_auto_on_a_machine_without_accelerators_is_float32_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert str(choose()) == "cpu float32"


def test_auto_with_cuda_is_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert str(choose()) == "cuda:0 float16"
    assert str(choose(dtype="float32")) == "cuda:0 float32"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_on_a_cpu_is_refused(dtype: str) -> None:
    with pytest.raises(ConfigError, match="slower"):
        choose("cpu", dtype)


@pytest.mark.parametrize(("device", "dtype"), [("cuda0", "auto"), ("tpu", "auto"), ("xpu", "auto"), ("cpu", "half")])
def test_unknown_names_are_refused_with_the_known_ones(device: str, dtype: str) -> None:
    with pytest.raises(ConfigError, match="Use auto"):
        choose(device, dtype)


def test_a_device_that_is_not_there_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:3", "mps"):
        with pytest.raises(EngineError, match="not there"):
            choose(name)


# --- the recorded call ---


def _recorder(log: list[str]) -> Callable:
    """Records as CUDA does: one fixed input, one fixed output, and a replay that takes no arguments."""

    def record(fn: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Callable[[], None], Tensor]:
        log.append("record")
        output = fn(x).clone()

        def replay() -> None:
            log.append("replay")
            output.copy_(fn(x))

        return replay, output

    return record


def test_a_recorded_call_replays_on_new_input() -> None:
    log: list[str] = []
    call = GraphedCall(lambda x: x * 2, torch.zeros(3), recorder=_recorder(log))
    first = call(torch.tensor([1.0, 2.0, 3.0]))
    assert first.tolist() == [2, 4, 6]
    assert call(torch.ones(3)) is first
    assert first.tolist() == [2, 2, 2]
    assert log == ["record", "replay", "replay"]


def test_another_shape_runs_unrecorded() -> None:
    log: list[str] = []
    call = GraphedCall(lambda x: x + 1, torch.zeros(3), recorder=_recorder(log))
    assert call(torch.zeros(2)).tolist() == [1, 1]
    assert log == ["record"]


def test_a_failed_recording_is_said_once_and_the_function_is_called(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(fn: Callable, x: Tensor) -> tuple[Callable[[], None], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with caplog.at_level(logging.WARNING):
        call = GraphedCall(lambda x: x + 1, torch.zeros(3), recorder=refuse)
        assert call(torch.zeros(3)).tolist() == [1, 1, 1]
        assert call(torch.ones(3)).tolist() == [2, 2, 2]
    assert not call.recorded
    assert [record.getMessage().count("capturing") for record in caplog.records] == [1]


def test_without_cuda_nothing_is_recorded() -> None:
    call = GraphedCall(lambda x: x + 1, torch.zeros(3))
    assert not call.recorded
    assert call(torch.zeros(3)).tolist() == [1, 1, 1]


# --- packing ---


def _hard_picture(height: int = 61, width: int = 47) -> Tensor:
    """Random, out of range, exact halves between two grey levels, and the neighbours of those in float32."""
    img = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(4)) * 2.6 - 1.3
    halves = (torch.arange(255, dtype=torch.float64) + 0.5 - 127.5) / 127.5
    values = halves.float()
    infinity = torch.tensor(float("inf"))
    values = torch.cat(
        [values, values.nextafter(infinity), values.nextafter(-infinity), torch.tensor([-1e30, 1e30, -0.0])]
    )
    img.view(-1)[: len(values)] = values
    return img


def test_packing_gives_exactly_what_the_definition_gives() -> None:
    img = _hard_picture()
    out = np.zeros((61, 47, 4), np.uint8)
    assert Packer(47, 61).pack(img, out)
    assert np.array_equal(out, pack_slow(img))


def test_the_definition_is_round_half_to_even_and_opaque() -> None:
    img = torch.tensor([[-1.0, 0.0, 1.0, 2.0, -3.0]]).expand(1, 3, 1, 5)
    assert pack_slow(img)[0].tolist() == [[v, v, v, 255] for v in (0, 128, 255, 255, 0)]


def test_the_way_over_a_device_gives_the_same_pixels_and_flag() -> None:
    """The staged path, as on CUDA: pixels and flag in one buffer, one copy, then the memory copy."""
    img, out = _hard_picture(), np.zeros((61, 47, 4), np.uint8)
    packer = Packer(47, 61, staged=True)
    assert packer.pack(img, out)
    assert np.array_equal(out, pack_slow(img))
    img[0, 1, 3, 3] = float("nan")
    assert not packer.pack(img, out)


def test_a_staged_picture_may_change_after_start() -> None:
    img, out = _hard_picture(), np.zeros((61, 47, 4), np.uint8)
    packer = Packer(47, 61, staged=True)
    packer.start(img)
    expected = pack_slow(img)
    img.fill_(float("nan"))
    assert packer.finish(out)
    assert np.array_equal(out, expected)


def test_red_is_first() -> None:
    img = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    out = np.zeros((4, 4, 4), np.uint8)
    Packer(4, 4).pack(img, out)
    assert out[0, 0].tolist() == [255, 0, 128, 255]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_picture_that_is_not_finite_is_reported(bad: float) -> None:
    img, out = torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 4), np.uint8)
    packer = Packer(8, 8)
    assert packer.pack(img, out)
    img[0, 2, 7, 7] = bad
    assert not packer.pack(img, out)
    img[0, 0, 0, 0] = -bad
    assert not packer.pack(img, out)


def test_channels_last_pictures_are_packed_alike() -> None:
    img = _hard_picture()
    out = np.zeros((61, 47, 4), np.uint8)
    Packer(47, 61).pack(img.contiguous(memory_format=torch.channels_last), out)
    assert np.array_equal(out, pack_slow(img))


def test_the_picture_is_left_alone() -> None:
    img = _hard_picture()
    Packer(47, 61).pack(img, np.zeros((61, 47, 4), np.uint8))
    assert torch.equal(img, _hard_picture())


def test_wrong_buffers_and_pictures_are_refused() -> None:
    packer = Packer(8, 6)
    with pytest.raises(ValueError, match=r"\[1, 3, 6, 8\]"):
        packer.start(torch.zeros(1, 3, 8, 6))
    packer.start(torch.zeros(1, 3, 6, 8))
    for out in (np.zeros((8, 6, 4), np.uint8), np.zeros((6, 8, 4), np.float32), np.zeros((6, 16, 4), np.uint8)[:, ::2]):
        with pytest.raises(ValueError, match="C-contiguous"):
            packer.finish(out)
    assert packer.finish(np.zeros((6, 8, 4), np.uint8))
    with pytest.raises(ValueError, match="started"):
        packer.finish(np.zeros((6, 8, 4), np.uint8))


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_cascade_opened_in_the_middle_of_a_film_does_not_try_algorithms(monkeypatch, deterministic) -> None:
    monkeypatch.setattr("installation.models.cascade.choose", lambda *_: Placement(torch.device("cuda"), torch.float32))
    monkeypatch.setattr(Network, "place", lambda *_: None)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", deterministic)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    Cascade(random_weights.dcgan())
    assert torch.backends.cudnn.benchmark is not deterministic
