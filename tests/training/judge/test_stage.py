"""Judging a stage: detail where there should be some, fidelity to the small picture, steadiness on a walk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.files import fingerprint
from installation.models import checkpoint, random_weights
from installation.models.network import Upscaler
from installation.models.stage import Stage
from installation.training.judge import planted
from installation.training.judge import stage as module
from installation.training.judge.kit import Kit, make_kit
from installation.training.judge.spectrum import high_frequencies
from installation.training.judge.stage import detail, grow, judge_stage, psnr, shrink, steadiness

from .conftest import faces, packed


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """A kit of 64 px pictures."""
    folder = tmp_path_factory.mktemp("large")
    return make_kit(packed(folder / "l.safetensors", 160, 64), folder / "kit", n=60, held_out=0.3, trained=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    generator = random_weights.stylegan2(noise=False)
    checkpoint.save(path, generator.state_dict(), checkpoint.describe(generator, name="base"))
    return path


def stage_file(folder: Path, gain: float) -> Path:
    """An SRVGG whose own part is `gain` times a random network's; with 0 it repeats every pixel."""
    stage = random_weights.srvgg()
    tensors = {
        name: tensor * (gain if name.startswith("body.6") else 1.0) for name, tensor in stage.state_dict().items()
    }
    path = folder / f"stage{gain:g}.safetensors"
    checkpoint.save(path, tensors, checkpoint.describe(stage, name=f"stage{gain:g}"))
    return path


class Stub(Upscaler):
    """A stage that is one function."""

    arch = "srvgg"
    scale = 2

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._call = call

    def forward(self, img: Tensor) -> Tensor:
        return self._call(img)


@pytest.mark.slow
def test_a_stage_is_judged_with_every_measure(large: Kit, base: Path, tmp_path: Path) -> None:
    one = judge_stage(stage_file(tmp_path, 0.0), large, base=base)
    assert set(one.numbers) == {"q", "lb", "hf_distance", "lowres_psnr", "paired_psnr", "steadiness"}
    assert one.numbers["lowres_psnr"].value > 30
    assert (tmp_path / f"stage0.{large.hash[:8]}.judgement.json").exists()


def test_a_stage_that_spoils_the_picture_scores_lower(large: Kit, tmp_path: Path) -> None:
    plain, spoilt = (judge_stage(stage_file(tmp_path, gain), large) for gain in (0.0, 1.0))
    assert spoilt.q.value < plain.q.value
    assert spoilt.numbers["lowres_psnr"].value < plain.numbers["lowres_psnr"].value - 5
    assert any("no base" in text for text in plain.warnings)


def test_detail_drawn_anew_in_every_picture_flickers(base: Path) -> None:
    noise = torch.Generator().manual_seed(0)
    still = torch.randn(1, 3, 64, 64, generator=noise)

    def fresh(img: Tensor) -> Tensor:
        return grow(img, 2) + 0.1 * torch.randn(1, 3, 64, 64, generator=noise)

    kept, drawn = (
        steadiness(Stub(call), [base], 5, 1.0, "cpu") for call in (lambda img: grow(img, 2) + 0.1 * still, fresh)
    )
    assert drawn.value > 3 * kept.value


def test_a_stage_that_is_conditioned_on_w_walks_with_it_or_is_refused(base: Path) -> None:
    stage = Stage(widths=[8], blocks=[1], scale=2, w_dim=16)
    rng = torch.Generator().manual_seed(0)
    for tensor in stage.parameters():
        torch.nn.init.normal_(tensor, 0, 1 / tensor[0].numel() ** 0.5, generator=rng)
    stage.requires_grad_(False).eval().place("cpu")
    moved = steadiness(stage, [base], 5, 1.0, "cpu").value
    for block in stage.bodies[0]:  # pyright: ignore[reportGeneralTypeIssues]
        block.affine.zero_()
    assert steadiness(stage, [base], 5, 1.0, "cpu").value != pytest.approx(moved, rel=1e-3)
    other = Stage(widths=[8], blocks=[1], scale=2, w_dim=9)
    with pytest.raises(ModelError, match="conditioned on a w of 9, and the generator gives one of 16"):
        steadiness(other, [base], 5, 1.0, "cpu")


def test_a_stage_after_a_stage_walks_on_what_the_whole_cascade_makes(base: Path, tmp_path: Path) -> None:
    before = [base, stage_file(tmp_path, 0.0)]
    seen = []

    def call(img: Tensor) -> Tensor:
        seen.append(img)
        return grow(img, 2)

    steadiness(Stub(call), before, 5, 1.0, "cpu")
    assert {tuple(img.shape[2:]) for img in seen} == {(64, 64)}, "the base makes 32 px"
    assert float(detail(seen[0], 2).abs().max()) > 1e-3, "the stage between has its part in them"
    with pytest.raises(ModelError, match="Only the first stage may be a generator"):
        steadiness(Stub(call), [base, base], 5, 1.0, "cpu")


def test_what_a_stage_between_makes_anew_does_not_excuse_the_next(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = torch.Generator().manual_seed(0)
    fresh = Stub(lambda img: grow(img, 2) + 0.1 * torch.randn(1, 3, 64, 64, generator=noise))
    steady, load = Stub(lambda img: grow(img, 2)), module.checkpoints.load
    found = []
    for between in (steady, fresh):
        monkeypatch.setattr(module.checkpoints, "load", lambda path, one=between: load(path) if path == base else one)
        found.append(steadiness(Stub(lambda img: 2 * grow(img, 2)), [base, tmp_path / "between"], 5, 1.0, "cpu").value)
    assert found[1] > 3 * found[0]


@pytest.mark.slow
def test_the_whole_cascade_is_part_of_what_a_judgement_hangs_on(large: Kit, base: Path, tmp_path: Path) -> None:
    between, stage = stage_file(tmp_path, 0.0), stage_file(tmp_path, 0.5)
    one, two = (judge_stage(stage, large, base=before) for before in (base, [base, between]))
    assert one.settings["base"] == fingerprint(base)
    assert two.settings["base"] == f"{fingerprint(base)}+{fingerprint(between)}"
    assert two.numbers["steadiness"].value != one.numbers["steadiness"].value


def test_a_stage_that_does_not_fit_the_kit_is_refused(large: Kit, tmp_path: Path) -> None:
    stage = random_weights.srvgg(scale=3)
    checkpoint.save(tmp_path / "three.safetensors", stage.state_dict(), checkpoint.describe(stage, name="three"))
    with pytest.raises(ModelError, match="×3"):
        judge_stage(tmp_path / "three.safetensors", large)


def test_a_generator_is_no_stage(large: Kit, base: Path) -> None:
    with pytest.raises(ModelError, match="no stage"):
        judge_stage(base, large)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_detail_is_what_the_small_picture_does_not_hold(scale: int) -> None:
    small = torch.randn(1, 3, 12, 12)
    smooth = grow(small, scale)
    assert shrink(smooth, scale).shape == small.shape
    assert float(detail(torch.ones(1, 3, 12 * scale, 12 * scale), scale).abs().max()) < 1e-3
    assert float(detail(smooth, scale).square().mean()) < 0.2 * float(smooth.square().mean())


def test_what_moves_evenly_does_not_jerk() -> None:
    """The second difference in time: zero for an even change, however fast; of an alternating one 16 times its square."""
    pattern = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    still = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1))
    even = torch.stack([still + i * pattern for i in range(6)])
    assert module._jerk(even) < 1e-10
    assert module._jerk(torch.stack([(-1) ** i * pattern for i in range(6)])) == pytest.approx(16, rel=1e-5)


def test_blur_takes_high_frequencies_and_noise_adds_them() -> None:
    images = faces(12, 64)
    clean, blurred, noisy = (
        high_frequencies(x, 2).mean(0) for x in (images, planted.blur(images, 1.0), planted.noise(images, 12))
    )
    assert (blurred < clean).all()
    assert (noisy > clean).all()
    assert (noisy - clean)[-1] > 3


def test_psnr_in_decibel() -> None:
    zeros = np.zeros((1, 3, 8, 8), np.uint8)
    assert psnr(zeros, zeros) == 99
    assert psnr(zeros, zeros + 255) == pytest.approx(0)
    assert psnr(zeros, zeros + 1) == pytest.approx(48.13, abs=0.01)
