"""Each score against pictures of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from installation.training.data.jpeg import blockiness, quality
from installation.training.data.resolution import detail
from installation.training.data.tone import border, exposure, luma, sharpness
from installation.training.picture import decode_picture, resize, to_uint8
from tests.training.data.conftest import enlarged, jpeg


def grain(height: int, width: int, deviation: float = 6.0) -> np.ndarray:
    """A grey gradient with the noise of a camera."""
    rng = np.random.default_rng(1)
    return np.clip(np.linspace(60, 190, width) + rng.normal(0, deviation, (height, width)), 0, 255).astype(np.float32)


def as_picture(grey: np.ndarray) -> np.ndarray:
    return np.repeat(to_uint8(grey)[:, :, None], 3, axis=2)


def test_a_picture_with_grain_has_all_its_resolution() -> None:
    assert detail(grain(200, 300)) == 1.0


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_an_enlarged_picture_has_the_resolution_it_came_from(factor: float) -> None:
    found = detail(luma(enlarged(as_picture(grain(200, 300)), factor)))
    assert found == pytest.approx(1 / factor, abs=0.2)
    assert found is not None
    assert found < 0.9


def test_enlargement_of_a_photograph_is_found(portrait: np.ndarray) -> None:
    assert (detail(luma(portrait)) or 0) > 0.8
    assert (detail(luma(enlarged(portrait, 2.0))) or 1) < 0.75


def test_enlargement_in_one_direction_is_found() -> None:
    wide = np.asarray(Image.fromarray(as_picture(grain(300, 200))).resize((400, 300), Image.Resampling.LANCZOS))
    assert (detail(luma(wide)) or 1) < 0.75


def test_a_reduced_picture_has_all_its_resolution(portrait: np.ndarray) -> None:
    small = to_uint8(resize(portrait, portrait.shape[1] // 2, portrait.shape[0] // 2))
    assert (detail(luma(small)) or 0) > 0.9


def test_a_flat_picture_has_no_resolution() -> None:
    assert detail(np.full((64, 64), 90.0)) == 0.0


def test_too_small_a_picture_gives_none() -> None:
    assert detail(grain(20, 300)) is None
    assert blockiness(grain(20, 300)) is None


@pytest.mark.parametrize("asked", [10, 35, 50, 75, 90, 97])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(asked: int) -> None:
    picture = decode_picture(jpeg(as_picture(grain(64, 64)), asked))
    found = quality(picture.quantisation)
    assert found is not None
    assert abs(found - asked) <= 1


def test_other_formats_have_no_jpeg_quality() -> None:
    assert quality(None) is None


def test_blocks_grow_as_quality_falls(portrait: np.ndarray) -> None:
    found = [blockiness(luma(decode_picture(jpeg(portrait, q)).pixels)) or 0 for q in (92, 40, 12)]
    assert found == sorted(found)
    assert found[2] > 1.8


def test_blocks_are_found_after_cropping(portrait: np.ndarray) -> None:
    mangled = decode_picture(jpeg(portrait, 15)).pixels
    assert (blockiness(luma(mangled[3:, 5:])) or 0) == pytest.approx(blockiness(luma(mangled)) or 0, abs=0.15)


def test_noise_has_no_blocks() -> None:
    assert (blockiness(grain(256, 256)) or 9) < 1.2


@pytest.mark.parametrize("side", range(4))
def test_a_frame_is_found_at_each_side(side: int) -> None:
    inner = grain(100, 100)
    framed = np.rot90(np.concatenate((np.full((20, 100), 250, np.float32), inner)), side)
    assert border(framed) == pytest.approx(20 / 120, abs=0.02)


def test_a_plain_background_is_no_border(portrait: np.ndarray) -> None:
    assert border(luma(portrait)) < 0.04


def test_exposure_counts_what_is_lost() -> None:
    half = np.concatenate((np.zeros((50, 100)), np.full((50, 100), 255)))
    found = exposure(half)
    assert (found["crushed"], found["blown"], found["contrast"]) == (0.5, 0.5, 1.0)


def test_a_blurred_face_is_less_sharp(portrait: np.ndarray) -> None:
    face = portrait[60:200, 50:180]
    blurred = to_uint8(gaussian_filter(face.astype(float), (4, 4, 0)))
    assert sharpness(blurred) < 0.12 < 0.2 < sharpness(face)


def test_sharpness_does_not_hang_on_light(portrait: np.ndarray) -> None:
    face = portrait[60:200, 50:180]
    assert sharpness(to_uint8(face * 0.6)) == pytest.approx(sharpness(face), rel=0.15)
