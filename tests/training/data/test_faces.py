"""Faces and their crops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from installation.errors import InstallationError, install_extra
from installation.training.data import extra
from installation.training.data.crop import Quad, cut, ffhq_quad
from installation.training.data.faces import find_faces
from installation.training.data.mtcnn import MTCNN
from installation.training.picture import read_picture, resize

UPRIGHT = np.array([[-30, 0], [30, 0], [0, 30], [-25, 70], [25, 70]], float)


def picture_of_places(side: int = 400) -> np.ndarray:
    """Smooth, with each channel a function of place: so the crop says where it was taken from."""
    y, x = np.mgrid[:side, :side] / side * 255
    return np.stack((x, y, 255 - x), axis=2).astype(np.uint8)


def test_the_crop_is_that_of_ffhq() -> None:
    quad = ffhq_quad(UPRIGHT + np.array((200, 150)))
    # side = 2 · max(2 · eye distance, 1.8 · eyes to mouth); centre = eyes + 0.1 · (mouth - eyes)
    assert quad.side == pytest.approx(2 * max(2.0 * 60, 1.8 * 70))
    assert quad.centre == pytest.approx((200, 157))
    assert quad.half[1] == pytest.approx(0)


def test_a_turned_face_gives_an_equally_turned_crop() -> None:
    turn = math.radians(25)
    matrix = np.array(((math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))))
    quad, straight = ffhq_quad(UPRIGHT @ matrix.T), ffhq_quad(UPRIGHT)
    assert quad.side == pytest.approx(straight.side)
    assert math.atan2(quad.half[1], quad.half[0]) == pytest.approx(turn)


def test_the_share_outside_is_the_area_outside() -> None:
    assert Quad((50, 50), (20, 0)).outside(100, 100) == 0
    assert Quad((0, 50), (20, 0)).outside(100, 100) == pytest.approx(0.5)
    assert Quad((0, 0), (20, 0)).outside(100, 100) == pytest.approx(0.75)


@pytest.mark.parametrize("size", [40, 63, 100, 160])
def test_the_crop_holds_what_lay_there(size: int) -> None:
    pixels, quad = picture_of_places(), Quad((210.0, 190.0), (80.0, 0.0))
    crop = cut(pixels, quad, size).astype(float)
    step = 160 / size
    expected = (130 + (np.arange(size) + 0.5) * step - 0.5) / 400 * 255
    assert np.abs(crop[size // 2, :, 0] - expected).max() < 1.5


def test_nothing_is_enlarged() -> None:
    with pytest.raises(ValueError, match="80 px, 81 are wanted"):
        cut(picture_of_places(), Quad((200, 200), (40, 0)), 81)


def test_a_crop_over_the_edge_is_mirrored_not_black() -> None:
    pixels = np.full((200, 200, 3), 180, np.uint8)
    assert np.abs(cut(pixels, Quad((100, 20), (60, 0)), 64).astype(int) - 180).max() <= 1


def test_fine_stripes_do_not_alias() -> None:
    pixels = np.zeros((600, 600, 3), np.uint8)
    pixels[:, ::2] = 255
    crop = cut(pixels, Quad((300, 300), (250, 10)), 64)
    assert np.ptp(crop[8:-8, 8:-8].astype(int)) < 12


def test_the_one_face_of_a_portrait_is_found(detector: MTCNN, portrait: np.ndarray) -> None:
    (face,) = find_faces(detector, portrait)
    (left_eye, right_eye, nose, *mouth) = face.points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < mouth[0][1]
    assert face.confidence > 0.99
    assert 150 < face.side < 300
    assert face.others == 0


def test_points_scale_with_the_picture(detector: MTCNN, portrait: np.ndarray) -> None:
    large = resize(portrait, portrait.shape[1] * 4, portrait.shape[0] * 4).clip(0, 255).astype(np.uint8)
    (small_face,), (large_face,) = find_faces(detector, portrait), find_faces(detector, large)
    error = np.abs(np.array(large_face.points) / 4 - small_face.points).max()
    assert error < 0.04 * small_face.side


def test_two_faces_are_found_and_know_of_each_other(detector: MTCNN, portrait: np.ndarray) -> None:
    pair = np.concatenate((portrait, portrait), axis=1)
    assert len(find_faces(detector, pair)) == 2
    near = np.concatenate((portrait[:, 20:190], portrait[:, 20:190]), axis=1)
    assert all(face.others <= 1 for face in find_faces(detector, near))


@pytest.mark.parametrize("shape", [(40, 300, 3), (300, 40, 3), (33, 33, 3), (20, 20, 3)])
def test_a_picture_without_a_face_has_none(detector: MTCNN, shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert find_faces(detector, noise) == []


def test_most_of_real_portraits_have_one_face(detector: MTCNN, shared_dir: Path) -> None:
    files = sorted((shared_dir / "data/portraits_congress").glob("*.jpg"))[::90]
    assert sum(len(find_faces(detector, read_picture(file).pixels)) == 1 for file in files) >= len(files) - 1


def test_missing_weights_name_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> list[str]:
        raise extra.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extra.metadata, "files", gone)
    with pytest.raises(InstallationError, match="facenet-pytorch") as caught:
        MTCNN()
    assert install_extra("data") in caught.value.fix
