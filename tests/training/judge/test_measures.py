"""The score's scale, and the memorisation ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest

from installation.training.judge import measures
from installation.training.judge.measures import Measures, Sample, Scale, floor_and_bad, memorisation, numbers, score


def test_the_scale_runs_from_100_at_the_floor_to_0_at_bad() -> None:
    scale = Scale(floor=1.0, bad=100.0)
    assert scale.points(1.0) == 100
    assert scale.points(10.0) == pytest.approx(50)
    assert scale.points(100.0) == 0
    assert scale.points(1000.0) == pytest.approx(-50)


def test_nearer_than_real_pictures_are_to_each_other_is_no_better() -> None:
    scale = Scale(floor=1.0, bad=100.0)
    assert scale.points(0.1) == scale.points(-3.0) == 100


def test_the_floor_is_a_deviation_above_what_real_pictures_reach() -> None:
    rng = np.random.default_rng(0)
    spread = rng.normal(0, 1, (400, 6)).astype(np.float32)
    real = Measures(Sample(spread[:300], None), Sample(spread[300:], None))
    bad = Measures(Sample(spread[:300] + 4, None), Sample(spread[300:], None))
    draws = np.random.RandomState(6)
    values = [real.at(draws.permutation(300)[:60], np.arange(100)) for _ in range(measures._FLOOR_DRAWS)]
    for name, scale in floor_and_bad(real, bad, 60).items():
        found = [one[name] for one in values]
        assert scale.floor == pytest.approx(max(np.mean(found), 0) + np.std(found, ddof=1), rel=1e-6), name


def test_the_score_is_the_mean_of_its_terms() -> None:
    scales = {"a": Scale(1, math.e), "b": Scale(1, math.e**2)}
    assert score({"a": 1.0, "b": math.e**2}, scales) == pytest.approx(50)


def test_every_number_has_an_error_and_its_halves_centre_on_it() -> None:
    rng = np.random.RandomState(0)
    sets = [Sample(rng.standard_normal((100, 8)).astype(np.float32) + shift, None) for shift in (0.5, 0.0)]
    found = numbers(sets[0], sets[1], {"sw": Scale(1, 5000), "lb": Scale(0.01, 50)})
    assert set(found) == {"q", "sw", "lb", "density", "coverage"}
    for name in ("sw", "lb", "density"):
        assert found[name].se > 0
        assert np.mean(found[name].halves) == pytest.approx(found[name].value)


def test_copies_of_training_pictures_have_a_ratio_of_0_and_fresh_ones_of_1() -> None:
    rng = np.random.RandomState(0)
    train, held, fresh = rng.standard_normal((400, 6)), rng.standard_normal((100, 6)), rng.standard_normal((200, 6))
    from installation.training.judge.distances import nearest

    usual = float(np.median(nearest(held, train)) / np.median(nearest(held, held, itself=True)))
    assert memorisation(train[:200] + 1e-4, train, held, usual).value < 0.01
    assert memorisation(fresh, train, held, usual).value == pytest.approx(1, abs=0.15)
