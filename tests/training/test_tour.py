"""Scores become a tour: the best first, no stop without a score, and nobody's tour written over."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.errors import OutputError
from installation.models import random_weights
from installation.models.cascade import Cascade
from installation.training.tour import TourPlan, begin_tour, best, write_tour


def test_what_has_no_score_is_no_stop_and_stands_last_in_the_list(tmp_path: Path) -> None:
    cascade = Cascade(random_weights.dcgan(), (), device="cpu")
    scores = np.array([-np.inf, 1.0, -np.inf, 2.5])
    files = write_tour(TourPlan(tmp_path, [5, 6, 7, 8], 3, 2.0, 0.7), cascade, scores, by="nobody")
    assert [path.name for path in files] == ["tour.toml", "scores.csv", "sheet.png"]
    text = files[0].read_text()
    assert "The 2 best of 4 seeds, by nobody; truncation 0.7." in text
    stops = tomllib.loads(text)["walk"]["tour"]
    assert stops == [{"seed": 8, "hold_s": 2}, {"seed": 6, "hold_s": 2}]
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert [(row["seed"], row["score"]) for row in rows] == [("8", "2.5"), ("6", "1"), ("5", "-inf"), ("7", "-inf")]
    with Image.open(files[2]) as sheet:
        assert np.asarray(sheet).std() > 5


def test_a_tour_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    begin_tour(tmp_path / "new" / "tour")
    assert (tmp_path / "new" / "tour").is_dir()
    (tmp_path / "tour.toml").write_text("# mine")
    with pytest.raises(OutputError, match="a tour is here already"):
        begin_tour(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        begin_tour(tmp_path / "file" / "tour")


def test_equal_scores_keep_their_order() -> None:
    assert best([3, 1, 2], np.array([1.0, 1.0, 2.0]), 1.0) == [2, 3, 1]
