"""The steadiness losses: nothing for what is steady, something for each way of flickering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models import projection
from installation.training.stage.steadiness import flicker, shift_loss, walk_loss
from tests.training.stage.conftest import textures


def _smooth(lo: Tensor) -> Tensor:
    return projection.up(lo, 4)


def _on_the_grid(lo: Tensor) -> Tensor:
    """Adds a fixed pattern: it stays where the pixels are while the picture moves."""
    out = projection.up(lo, 4)
    return out + 0.2 * torch.randn(out.shape[2:], generator=torch.Generator().manual_seed(0))


def _noise_of_the_picture(lo: Tensor) -> Tensor:
    """Adds detail that is another one for every input, however near."""
    seed = int(lo.double().sum() * 1e9) % (1 << 40)
    return projection.up(lo, 4) + 0.2 * torch.randn(
        len(lo), 3, lo.shape[2] * 4, lo.shape[3] * 4, generator=torch.Generator().manual_seed(seed)
    )


def _img() -> Tensor:
    img = torch.from_numpy(textures(2, 72)).float() / 127.5 - 1
    return F.avg_pool2d(img, 9, stride=1, padding=4)  # nothing that would alias


def test_a_smooth_enlargement_follows_shifts_and_a_pattern_on_the_grid_does_not() -> None:
    smooth = shift_loss(_smooth, _img(), 4, (1, 2), 8)
    stuck = shift_loss(_on_the_grid, _img(), 4, (1, 2), 8)
    assert smooth < 0.02
    assert stuck > 10 * smooth


def test_a_shift_of_a_whole_small_pixel_is_followed_exactly() -> None:
    """down and up move with the grid."""
    assert shift_loss(_smooth, _img(), 4, (4, 0), 16) < 1e-5


def test_where_the_walk_stands_still_the_detail_must() -> None:
    lo = torch.zeros(2, 3, 16, 16)
    nearly = lo + 1e-4
    assert walk_loss(_smooth, lo, nearly, 4, 0.5) < 1e-6
    assert walk_loss(_on_the_grid, lo, nearly, 4, 0.5) < 1e-6, "a fixed pattern does not flicker"

    calls = iter((0.0, 1.0))

    def blinking(both: Tensor) -> Tensor:
        out = projection.up(both, 4)
        first, second = out.chunk(2)
        return torch.cat([first + 0.1 * next(calls), second + 0.1 * next(calls)])

    assert abs(float(walk_loss(blinking, lo, nearly, 4, 0.5)) - 0.1) < 1e-3


def test_where_the_picture_moves_some_change_of_detail_is_free() -> None:
    lo, moved = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.4)

    def detail_by_level(both: Tensor) -> Tensor:
        return projection.up(both, 4) + 0.5 * projection.up(both, 4)

    assert walk_loss(detail_by_level, lo, moved, 4, 0.6) < 1e-5
    assert walk_loss(detail_by_level, lo, moved, 4, 0.1) > 0.05


def test_flicker_is_nought_for_a_fixed_pattern_and_sqrt_2_for_new_noise() -> None:
    frames = [torch.full((1, 3, 16, 16), 0.01 * k) for k in range(4)]
    assert flicker(frames, [_on_the_grid(lo) for lo in frames], 4) < 1e-3
    assert abs(flicker(frames, [_noise_of_the_picture(lo) for lo in frames], 4) - 2**0.5) < 0.05


def test_both_losses_have_gradients() -> None:
    gain = torch.ones((), requires_grad=True)

    def enlarge(lo: Tensor) -> Tensor:
        return projection.up(lo, 4) + gain * projection.up(lo, 4).square()

    img = _img()
    shift_loss(enlarge, img, 4, (1, 1), 4).backward()
    walk_loss(enlarge, img[:1, :, :16, :16], img[1:, :, :16, :16], 4, 0.0).backward()
    assert gain.grad is not None
    assert bool(gain.grad != 0)
