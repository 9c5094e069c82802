"""From features to numbers: the distances of one set of made pictures to the reference, and the score Q. No torch, no files."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from installation.training.judge.distances import (
    FrechetDistance,
    KernelDistance,
    Neighbours,
    SlicedDistance,
    halves,
    nearest,
)
from installation.training.judge.judgement import Number

HALVES = 32
HALVES_SEED = 11
_FLOOR_DRAWS = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """Features of N pictures. bands: whitened Laplacian-band features, float32 [N, 64]. trained: EfficientNet-Lite0's [N, 1280] or None."""

    bands: np.ndarray
    trained: np.ndarray | None

    def __len__(self) -> int:
        return len(self.bands)

    @property
    def main(self) -> np.ndarray:
        """What neighbours are sought in: the trained features where there are any."""
        return self.bands if self.trained is None else self.trained


@dataclass(frozen=True, slots=True)
class Scale:
    """A distance's two ends. floor: between real and real (mean and one deviation, so above 0). bad: of the planted bad set."""

    floor: float
    bad: float

    def points(self, distance: float) -> float:
        """100 at the floor and below it, 0 at bad, less beyond; logarithmic between."""
        return 100.0 * math.log(self.bad / max(distance, self.floor)) / math.log(self.bad / self.floor)


class Measures:
    """The distances of one sample to a reference, on all of both or on any part.

    Names: kd and sw on the trained features and lb on the bands; without trained features sw is on the bands and there is no kd.
    """

    def __init__(self, made: Sample, reference: Sample) -> None:
        self.made, self.reference = made, reference
        self._lb = FrechetDistance(made.bands, reference.bands)
        self._sw = SlicedDistance(made.main, reference.main)
        self._kd = (
            None
            if made.trained is None or reference.trained is None
            else KernelDistance(made.trained, reference.trained)
        )

    def at(self, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        """a: indices of made pictures; b: of real ones; both may repeat."""
        found = {"sw": self._sw.at(a, b), "lb": self._lb.at(a, b)}
        return found if self._kd is None else {"kd": self._kd.at(a, b), **found}

    def whole(self) -> dict[str, float]:
        """Of all pictures of both."""
        return self.at(np.arange(len(self.made)), np.arange(len(self.reference)))


def score(distances: Mapping[str, float], scales: Mapping[str, Scale]) -> float:
    """Q: the mean of the distances' points. 100: as near as other real pictures; 0: as far as the planted bad set; not cut off below."""
    return statistics.fmean(scale.points(distances[name]) for name, scale in scales.items())


def floor_and_bad(real: Measures, bad: Measures, n: int) -> dict[str, Scale]:
    """The scales from training pictures in the place of made ones (several draws of n) and from the planted bad set."""
    rng = np.random.RandomState(6)
    everything = np.arange(len(real.reference))
    draws = [real.at(rng.permutation(len(real.made))[:n], everything) for _ in range(_FLOOR_DRAWS)]
    worst = bad.whole()
    scales = {}
    for name in worst:
        values = [draw[name] for draw in draws]
        floor = max(statistics.fmean(values), 0.0) + statistics.stdev(values)
        floor = max(floor, 1e-3 * worst[name], 1e-9)
        # Among a few dozen pictures the bad set can be no farther than chance; the scale must keep its direction.
        scales[name] = Scale(floor, max(worst[name], 1.5 * floor))
    return scales


def numbers(made: Sample, reference: Sample, scales: Mapping[str, Scale]) -> dict[str, Number]:
    """Q, the distances, density and coverage, each with its standard error from random halves of both sets."""
    measures, near = Measures(made, reference), Neighbours(made.main, reference.main)
    everything = (np.arange(len(made)), np.arange(len(reference)))
    value = {**measures.whole(), **dict(zip(("density", "coverage"), near.at(*everything), strict=True))}
    rows = []
    for a, b in halves(len(made), len(reference), HALVES, HALVES_SEED):
        rows.append({**measures.at(a, b), **dict(zip(("density", "coverage"), near.at(a, b), strict=True))})
    around = recentred(value, rows)
    found = {name: Number.of(value[name], around[name]) for name in value}
    qs = tuple(score({name: around[name][i] for name in scales}, scales) for i in range(HALVES))
    return {"q": Number.of(score(value, scales), qs), **found}


def recentred(value: Mapping[str, float], rows: list[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """The halves' values moved so that their mean is the whole's: small sets bias some distances, and only the scatter counts."""
    found = {}
    for name, whole in value.items():
        mean = statistics.fmean(row[name] for row in rows)
        found[name] = tuple(whole + row[name] - mean for row in rows)
    return found


def memorisation(made: np.ndarray, train: np.ndarray, held_out: np.ndarray, fresh: float) -> Number:
    """Median distance to the nearest training picture over that to the nearest held-out one; 1 for real pictures nobody trained on.

    made [N, d], train [T, d], held_out [M, d]; fresh: the same ratio of such real pictures, which takes out that T is not M.
    """
    to_train, to_held = nearest(made, train), nearest(made, held_out)

    def ratio(index: np.ndarray) -> float:
        return float(np.median(to_train[index]) / max(float(np.median(to_held[index])), 1e-9)) / fresh

    everything = np.arange(len(made))
    rows = [{"ratio": ratio(a)} for a, _ in halves(len(made), 2, HALVES, HALVES_SEED)]
    value = {"ratio": ratio(everything)}
    return Number.of(value["ratio"], recentred(value, rows)["ratio"])
