"""Which seeds look back: real eyes above spoilt ones, and no score where there is no face."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from installation.errors import ModelError
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.resources import checkpoints_dir
from installation.training.data.extra import installed
from installation.training.data.faces import find_faces
from installation.training.data.mtcnn import MTCNN
from installation.training.judge.gaze import Gaze, gaze, gaze_tour, scores_of
from installation.training.picture import frame_of, read_picture, resize, to_uint8
from installation.training.tour import TourPlan, portrait

if not installed("facenet-pytorch"):
    pytest.skip("the extra `data` is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN()


@pytest.fixture(scope="module")
def portraits(shared_dir: Path) -> list[np.ndarray]:
    names = ("00087", "00174", "00435", "00609", "00696", "00261")
    return [read_picture(shared_dir / f"data/portraits_congress/{name}.jpg").pixels for name in names]


def spoilt(pixels: np.ndarray, detector: MTCNN, how: str) -> np.ndarray:
    """The portrait with a white disc for each pupil, without irises, or with one eye closed over."""
    left, right = find_faces(detector, pixels)[0].points[:2]
    apart = abs(right[0] - left[0])
    page = Image.fromarray(pixels)
    draw = ImageDraw.Draw(page)
    for x, y in (left, right) if how != "one-eyed" else (left,):
        r = apart * (0.035 if how == "discs" else 0.11)
        colour = (250, 250, 250) if how == "discs" else tuple(int(v) for v in pixels[int(y + 0.3 * apart), int(x)])
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return np.array(page)


@pytest.mark.parametrize(("how", "measure"), [("discs", "spot"), ("blank", "pale"), ("one-eyed", "apart")])
def test_each_measure_sees_its_fault(portraits: list[np.ndarray], detector: MTCNN, how: str, measure: str) -> None:
    for pixels in portraits:
        sound, broken = gaze(pixels, detector), gaze(spoilt(pixels, detector, how), detector)
        assert sound is not None
        assert broken is not None
        assert getattr(broken, measure) > getattr(sound, measure) + 0.03


def test_what_people_chose_stands_above_what_they_struck_out(detector: MTCNN) -> None:
    """Seeds of `portraits` at psi 0.65, told apart by eye: those that look back, and eyes blank, in the dark or behind glasses."""
    good = [27, 33, 52, 97, 115, 146, 150, 166]
    bad = [8, 31, 41, 63, 142, 373, 605]
    files = [checkpoints_dir() / f"{name}.safetensors" for name in ("portraits", "portraits-x2")]
    base, stage = (checkpoint.load(path) for path in files)
    cascade = Cascade(base, [stage], device="cpu")
    looks = [gaze(_frame(cascade, seed), detector) for seed in (*good, *bad)]
    scores = scores_of(looks)
    assert min(scores[: len(good)]) > max(scores[len(good) :])


def _frame(cascade: Cascade, seed: int) -> np.ndarray:
    with torch.inference_mode():
        return frame_of(portrait(cascade, seed, 0.65)[0])


def test_the_size_of_the_picture_hardly_matters(portraits: list[np.ndarray], detector: MTCNN) -> None:
    height, width = portraits[0].shape[:2]
    large = to_uint8(resize(portraits[0], 2 * width, 2 * height))
    one, two = gaze(portraits[0], detector), gaze(large, detector)
    assert one is not None
    assert two is not None
    assert (two.pale, two.apart) == pytest.approx((one.pale, one.apart), abs=0.05)
    assert two.alike == pytest.approx(one.alike, abs=0.25)


def test_no_face_no_score(detector: MTCNN) -> None:
    assert gaze(np.full((200, 200, 3), 90, np.uint8), detector) is None
    found = Gaze(pale=0.5, spot=0.2, apart=0.1, alike=0.8, busy=3.0)
    scores = scores_of([None, found, replace(found, pale=0.4), replace(found, spot=0.5)])
    assert scores[0] == -np.inf
    assert scores[2] > scores[1] > scores[3]
    assert scores_of([None, None]).tolist() == [-np.inf, -np.inf]
    assert scores_of([found]).tolist() == [0.0]


def test_the_best_become_a_tour(tmp_path: Path) -> None:
    files = [checkpoints_dir() / f"{name}.safetensors" for name in ("portraits", "portraits-x2")]
    made = gaze_tour(files, TourPlan(tmp_path / "tour", range(30, 42), stops=3, psi=0.65), device="cpu")
    assert [path.name for path in made] == ["tour.toml", "scores.csv", "sheet.png"]
    rows = list(csv.DictReader((tmp_path / "tour/scores.csv").read_text().splitlines()))
    assert sorted(int(row["seed"]) for row in rows) == list(range(30, 42))
    stops = tomllib.loads((tmp_path / "tour/tour.toml").read_text())["walk"]["tour"]
    assert [stop["seed"] for stop in stops] == [int(row["seed"]) for row in rows[:3]]


def test_a_network_without_faces_is_said(tmp_path: Path) -> None:
    files = [checkpoints_dir() / "portraits.safetensors"]
    with pytest.raises(ModelError, match="no face was found in 2 pictures"):
        gaze_tour(files, TourPlan(tmp_path / "tour", range(2), psi=1.5e4), device="cpu")
    assert not list((tmp_path / "tour").iterdir())
