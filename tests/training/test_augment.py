"""What augmentation may and may not do to a picture."""

from __future__ import annotations

import pytest
import torch

from installation.training.augment import KINDS, Augment, Schedule


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, size: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=rng(9)) * 2 - 1


def test_with_p_0_pictures_are_the_very_same() -> None:
    img = pictures()
    assert Augment().draw(6, 0.0, rng()).apply(img) is img


@pytest.mark.parametrize("kind", KINDS)
def test_with_p_1_every_picture_is_changed_and_keeps_its_shape(kind: str) -> None:
    img = pictures()
    out = Augment(kinds=(kind,), colour=1.0).draw(6, 1.0, rng()).apply(img)
    assert out.shape == img.shape
    assert out.dtype == img.dtype
    changed = (out != img).flatten(1).any(dim=1)
    # A shift of nothing is one of the shifts.
    assert changed.sum() >= 5


def test_p_is_the_share_of_pictures_that_are_changed() -> None:
    draw = Augment().draw(4000, 0.3, rng())
    for chance in (draw.table[:, :3] > 0.5).unbind(1):
        assert chance.float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_translation_only_moves_pixels_and_brings_in_grey() -> None:
    img = pictures(32)
    out = Augment(kinds=("translation",)).draw(32, 1.0, rng()).apply(img)
    for before, after in zip(img, out, strict=True):
        known = {*before.flatten().tolist(), 0.0}
        assert set(after.flatten().tolist()) <= known


def test_translation_reaches_an_eighth_of_the_side_and_no_further() -> None:
    img = torch.zeros(400, 3, 16, 16)
    img[:, :, 8, 8] = 1
    out = Augment(kinds=("translation",)).draw(400, 1.0, rng()).apply(img)
    places = out[:, 0].flatten(1).argmax(dim=1)
    rows, columns = places // 16, places % 16
    for where in (rows, columns):
        assert sorted(set(where.tolist())) == [6, 7, 8, 9, 10]


def test_colour_of_strength_1_is_brightness_saturation_and_contrast_in_a_row() -> None:
    img = pictures()
    draw = Augment(kinds=("colour",), colour=1.0).draw(6, 1.0, rng())
    b, s, c = ((draw.table[:, 3 + i, None, None, None] - 0.5) for i in range(3))
    x = img + b
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * (1 + 2 * s)
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    assert torch.allclose(draw.apply(img), middle + (x - middle) * (1 + c), atol=1e-6)


def test_cutout_leaves_a_square_hole_and_everything_else() -> None:
    img = torch.ones(50, 3, 16, 16)
    out = Augment(kinds=("cutout",)).draw(50, 1.0, rng()).apply(img)
    assert set(out.flatten().tolist()) == {0.0, 1.0}
    holes = (out[:, 0] == 0).sum(dim=(1, 2))
    assert holes.max() == 8 * 8
    assert holes.min() >= 4 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_through(kind: str) -> None:
    img = pictures().double().requires_grad_()
    draw = Augment(kinds=(kind,), colour=1.0).draw(6, 1.0, rng())
    weight = torch.randn(img.shape, generator=rng(1), dtype=torch.float64)
    (draw.apply(img) * weight).sum().backward()
    assert img.grad is not None
    moved = torch.randn(img.shape, generator=rng(2), dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        numeric = ((draw.apply(img + step * moved) - draw.apply(img - step * moved)) * weight).sum() / (2 * step)
    assert (img.grad * moved).sum().item() == pytest.approx(numeric.item(), rel=1e-5)


def test_the_same_draw_does_the_same_to_another_batch() -> None:
    draw = Augment().draw(6, 0.7, rng())
    assert torch.equal(draw.apply(pictures()), draw.apply(pictures()))


def test_a_part_of_a_draw_is_what_the_whole_does_to_those_pictures() -> None:
    img = pictures()
    draw = Augment().draw(6, 0.7, rng())
    assert torch.allclose(draw.part(slice(2, 4)).apply(img[2:4]), draw.apply(img)[2:4])


def test_how_much_is_drawn_does_not_depend_on_p() -> None:
    one, other = rng(), rng()
    Augment().draw(6, 0.0, one)
    Augment(kinds=("colour",)).draw(6, 0.5, other)
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=other))


def test_the_ramp_rises_and_stays() -> None:
    ramp = Schedule("ramp", most=0.3, ramp_images=1000)
    at = [ramp.next(0.9, nimg=nimg, images=10, r_t=0.0) for nimg in (0, 500, 1000, 9000)]
    assert at == pytest.approx([0.0, 0.15, 0.3, 0.3])


def test_ada_follows_its_target_within_bounds() -> None:
    ada = Schedule("ada", most=0.5, target=0.6, ada_images=1000)
    assert ada.next(0.2, nimg=0, images=100, r_t=0.9) == pytest.approx(0.3)
    assert ada.next(0.2, nimg=0, images=100, r_t=0.3) == pytest.approx(0.1)
    assert ada.next(0.48, nimg=0, images=100, r_t=0.9) == 0.5
    assert ada.next(0.02, nimg=0, images=100, r_t=0.3) == 0.0
