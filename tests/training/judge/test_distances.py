"""Each distance against what it is by definition, and the errors against true scatter."""

from __future__ import annotations

import numpy as np
import pytest

from installation.training.judge.distances import (
    FrechetDistance,
    KernelDistance,
    Neighbours,
    SlicedDistance,
    Whitening,
    halves,
    nearest,
)


def normal(n: int, d: int = 8, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    return (np.random.RandomState(seed).standard_normal((n, d)) + shift).astype(np.float32)


def whole(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(x)), np.arange(len(y))


def test_kernel_distance_is_the_sum_over_pairs_of_different_pictures() -> None:
    x, y = normal(7), normal(5, seed=1)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 8 + 1) ** 3

    within = [np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert KernelDistance(x, y).at(*whole(x, y)) == pytest.approx(1000 * (sum(within) - 2 * across), rel=1e-4)


def test_kernel_distance_of_one_kind_is_0_on_average() -> None:
    values = []
    for seed in range(60):
        x, y = normal(60, seed=2 * seed), normal(60, seed=2 * seed + 1)
        values.append(KernelDistance(x, y).at(*whole(x, y)))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)


def test_a_picture_drawn_twice_is_no_pair_with_itself() -> None:
    x, y = normal(40), normal(40, seed=1)
    distance = KernelDistance(x, y)
    twice = np.repeat(np.arange(40), 2)
    assert distance.at(twice, np.arange(40)) == pytest.approx(distance.at(*whole(x, y)))


def test_sliced_distance_of_a_shift_is_its_square_over_the_dimensions() -> None:
    x = normal(300)
    y = x + np.eye(8, dtype=np.float32)[0]
    assert SlicedDistance(x, y).at(*whole(x, y)) == pytest.approx(1000 / 8, rel=0.2)
    assert SlicedDistance(x, x).at(*whole(x, x)) == 0


def test_sliced_distance_takes_sets_of_different_size() -> None:
    x = normal(400)
    assert SlicedDistance(x, x[:200]).at(np.arange(400), np.arange(200)) < 20


def test_frechet_distance_of_two_normals_in_closed_form() -> None:
    x, y = normal(40_000, 3), 2 * normal(40_000, 3, seed=1) + 1
    assert FrechetDistance(x, y).at(*whole(x, y)) == pytest.approx(3 + 3 * (2 - 1) ** 2, rel=0.05)


def test_frechet_distance_to_itself_is_0() -> None:
    x = normal(200)
    assert FrechetDistance(x, x).at(*whole(x, x)) == pytest.approx(0, abs=1e-6)


def test_density_and_coverage_are_near_1_for_one_kind_and_0_far_away() -> None:
    x, y = normal(400), normal(400, seed=1)
    density, coverage = Neighbours(x, y).at(*whole(x, y))
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9
    far = x + 100
    assert Neighbours(far, y).at(*whole(far, y)) == (0, 0)


def test_a_lost_mode_lowers_coverage() -> None:
    y = np.concatenate([normal(200), normal(200, seed=1, shift=20)])
    x = normal(400, seed=2)
    assert Neighbours(x, y).at(*whole(x, y))[1] == pytest.approx(0.5, abs=0.06)


def test_nearest_leaves_a_picture_itself_out() -> None:
    x = normal(600)
    assert nearest(x, x).max() < 0.01
    assert nearest(x, x, itself=True).min() > 0.01


def test_whitened_features_have_variance_1_and_no_correlation() -> None:
    x = normal(400, 30) @ normal(30, 30, seed=1)
    white = Whitening.of(x, 10)(x)
    assert white.shape == (400, 10)
    assert np.allclose(np.cov(white, rowvar=False), np.eye(10), atol=1e-3)


def test_halves_are_halves_without_repetition_and_always_the_same() -> None:
    first, again = halves(100, 60, 5, 3), halves(100, 60, 5, 3)
    for (a, b), (c, d) in zip(first, again, strict=True):
        assert len(np.unique(a)) == 50
        assert len(np.unique(b)) == 30
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)


def test_the_scatter_over_halves_is_the_standard_error() -> None:
    true, told = [], []
    for seed in range(40):
        x, y = normal(200, seed=2 * seed, shift=0.5), normal(200, seed=2 * seed + 1)
        distance = KernelDistance(x, y)
        true.append(distance.at(*whole(x, y)))
        told.append(np.std([distance.at(a, b) for a, b in halves(200, 200, 32, 1)], ddof=1))
    assert np.mean(told) == pytest.approx(np.std(true, ddof=1), rel=0.35)
