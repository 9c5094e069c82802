"""Curves are pictures of numbers."""

from __future__ import annotations

import numpy as np

from installation.training.curves import draw_curves

BLUE = (30, 80, 160)


def line(page: np.ndarray) -> np.ndarray:
    """For each column, the mean row of the dark line, NaN where there is none."""
    found = (page == BLUE).all(axis=2)
    rows = np.arange(page.shape[0])[:, None]
    with np.errstate(invalid="ignore"):
        return (found * rows).sum(0) / found.sum(0)


def test_a_rising_number_is_a_rising_line() -> None:
    where = line(draw_curves({"run": [{"nimg": n, "loss": n * 0.001} for n in range(0, 1000, 10)]}, ["loss"]))
    where = where[np.isfinite(where)]
    assert where[0] - where[-1] > 100
    assert (np.diff(where) <= 0.5).all()


def test_each_number_that_was_measured_has_a_panel() -> None:
    rows = [{"nimg": n, "a": 1.0, "b": n, "c": None, "d": float("nan")} for n in range(50)]
    one, two = draw_curves({"run": rows}, ["a"]), draw_curves({"run": rows}, ["a", "b", "c", "d", "e"])
    assert two.shape[1] == 2 * one.shape[1]
    assert two.dtype == np.uint8


def test_nothing_measured_and_one_number_are_pictures_too() -> None:
    assert draw_curves({"run": []}, ["a"]).ndim == 3
    assert draw_curves({"run": [{"nimg": 5, "a": 2.0}]}, ["a"]).ndim == 3


def test_many_rows_and_outliers_leave_it_readable() -> None:
    rng = np.random.default_rng(0)
    rows = [{"nimg": n, "a": float(v)} for n, v in enumerate(rng.normal(size=20_000))]
    rows[0]["a"] = 1e9
    where = line(draw_curves({"run": rows}, ["a"]))
    middle = where[np.isfinite(where)][20:-20]
    assert np.ptp(middle) < 60


def test_runs_are_told_by_their_colours() -> None:
    rows = {"low": [{"nimg": n, "a": 1.0} for n in range(50)], "high": [{"nimg": n, "a": 9.0} for n in range(90)]}
    page = draw_curves(rows, ["a"])
    low, high = (np.argwhere((page[30:] == colour).all(axis=2)) for colour in (BLUE, (200, 80, 30)))
    assert low[:, 0].mean() > high[:, 0].mean() + 50
    assert high[:, 1].max() > low[:, 1].max() + 50
