"""Photograph or drawing: the weights that ship, on portraits that they were not fitted to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from installation.training.data.drawing import CUES, drawing_chance, fit, measure_cues
from installation.training.data.duplicates import pack_features
from installation.training.features.efficientnet import Features
from installation.training.picture import read_picture, resize, to_uint8

LABELS = Path(__file__).with_name("labels_archive.json")


def held_out() -> dict[str, bool]:
    """File name -> is a drawing, of the half with an odd sha256: the weights in the package were fitted to the other."""
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["labels"]
    return {
        name: label == "drawing"
        for name, label in labels.items()
        if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2
    }


def precision_and_recall(said: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    hits = float((said & true).sum())
    return hits / max(1, said.sum()), hits / true.sum()


@pytest.mark.slow
def test_drawings_and_photographs_of_the_other_half_are_told_apart(shared_dir: Path, features: None) -> None:
    network, labels = Features(), dict(list(held_out().items())[::2])
    chances = []
    for name in labels:
        pixels = read_picture(shared_dir / "data/portraits_archive" / name).pixels
        small = to_uint8(resize(pixels, 224, 224)).transpose(2, 0, 1)
        chances.append(drawing_chance(measure_cues(pixels), pack_features(network.embed(small[None])[0])))
    chance, drawn = np.array(chances), np.array(list(labels.values()))
    for said, true in ((chance > 0.5, drawn), (chance <= 0.5, ~drawn)):
        precision, recall = precision_and_recall(said, true)
        assert precision > 0.84
        assert recall > 0.8
    sure = (chance < 0.2) | (chance > 0.8)
    assert sure.mean() > 0.55
    assert ((chance > 0.5) == drawn)[sure].mean() > 0.92


def test_the_cues_alone_do_better_than_chance(shared_dir: Path) -> None:
    labels = dict(list(held_out().items())[::3])
    folder = shared_dir / "data/portraits_archive"
    chance = np.array([drawing_chance(measure_cues(read_picture(folder / name).pixels)) for name in labels])
    assert ((chance > 0.5) == np.array(list(labels.values()))).mean() > 0.7


def test_a_colour_photograph_is_no_drawing(portrait: np.ndarray) -> None:
    assert drawing_chance(measure_cues(portrait)) < 0.2


def test_the_cues_have_the_names_that_the_weights_expect() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    cues = measure_cues(pixels)
    assert tuple(cues) == CUES
    assert np.isfinite(list(cues.values())).all()


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_picture_has_finite_cues(value: int) -> None:
    assert np.isfinite(list(measure_cues(np.full((40, 40, 3), value, np.uint8)).values())).all()


def test_regression_finds_a_line_and_its_penalty_holds_it_back() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    drawn = x[:, 1] + rng.normal(0, 0.1, 400) > 0
    free, held = fit(x, drawn, ridge=0.1), fit(x, drawn, ridge=100.0)
    assert ((free.chance(x) > 0.5) == drawn).mean() > 0.9
    assert abs(free.weights[1]) > 5 * max(abs(free.weights[0]), abs(free.weights[2]))
    assert abs(held.weights[1]) < abs(free.weights[1])
