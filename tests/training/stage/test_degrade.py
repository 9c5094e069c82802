"""Degradation: seeded, bounded, each picture its own; and targets that a stage can reach."""

from __future__ import annotations

import torch
from torch import Tensor

from installation.models import projection
from installation.training.stage.degrade import Degradation, pair

STRONG = Degradation(blur=0.8, noise=4.0, colour=0.02)


def _rng(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _img(n: int = 3, side: int = 48) -> Tensor:
    from tests.training.stage.conftest import textures

    return torch.from_numpy(textures(n, side)).float() / 127.5 - 1


def test_the_same_generator_gives_the_same_pictures_and_another_gives_others() -> None:
    lo = projection.down(_img(), 4)
    assert torch.equal(STRONG.apply(lo, _rng()), STRONG.apply(lo, _rng()))
    assert not torch.equal(STRONG.apply(lo, _rng()), STRONG.apply(lo, _rng(4)))


def test_without_strength_nothing_changes() -> None:
    lo = projection.down(_img(), 4)
    assert (Degradation(0, 0, 0).apply(lo, _rng()) - lo.clamp(-1, 1)).abs().max() < 1e-6


def test_it_stays_within_what_it_says() -> None:
    grey = torch.zeros(64, 3, 16, 16)
    noisy = Degradation(0, 4.0, 0).apply(grey, _rng()) * 127.5
    sigmas = noisy.flatten(1).std(dim=1)
    assert sigmas.max() < 4.2
    assert sigmas.min() < 0.5
    shifted = Degradation(0, 0, 0.02).apply(grey, _rng())
    assert shifted.abs().max() <= 0.02
    assert shifted[0, :, 0, 0].unique().numel() == 3, "each channel its own"


def test_blur_softens_and_keeps_the_mean() -> None:
    lo = projection.down(_img(side=96), 4)
    soft = Degradation(0.8, 0, 0).apply(lo, _rng())
    assert (soft.mean((2, 3)) - lo.mean((2, 3))).abs().max() < 0.02
    assert soft.diff(dim=3).square().mean() < lo.diff(dim=3).square().mean()


def test_the_target_has_the_small_picture_below_and_the_real_detail_above() -> None:
    img = _img()
    lo, target = pair(img, 4, STRONG, _rng())
    assert (projection.down(target, 4) - lo).abs().max() < 1e-5
    detail, real = (x - projection.up(projection.down(x, 4), 4) for x in (target, img))
    assert (detail - real).abs().max() < 1e-5


def test_undegraded_the_target_is_the_picture_itself() -> None:
    img = _img() * 0.9
    _, target = pair(img, 2, Degradation(0, 0, 0), _rng())
    assert (target - img).abs().max() < 1e-5
