"""Photograph, or engraving, lithograph, painting? Logistic regression on the features of a trained network and on cues that are measured.

The weights are in `drawing.json`, which says how they were made. Two models: with features, and from the cues alone where the network's
weights are not installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from installation.training.data.duplicates import unpack_features
from installation.training.data.tone import luma
from installation.training.picture import resize, to_uint8

CUES = ("noise_floor", "colours", "flat", "spikes", "fine", "lines", "paper", "ink", "chroma", "chroma_spread")


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """Logistic regression: chance of a drawing = sigmoid((x - mean) / spread @ weights + bias). mean, spread, weights: float64 [D]."""

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: float

    def chance(self, x: np.ndarray) -> np.ndarray:
        """x: [N,D] -> [N], 0..1."""
        return 1 / (1 + np.exp(-np.clip((x - self.mean) / self.spread @ self.weights + self.bias, -30, 30)))


def measure_cues(pixels: np.ndarray) -> dict[str, float]:
    """The cues of a picture uint8 [H,W,3] of at least 32 px.

    noise_floor: deviation in the quietest tenth of 8-px blocks (film has grain, paper none) ·
    colours: distinct ones at 5 bits a channel, of 256² px, log · flat, spikes: share of pixels without a step,
    kurtosis of the steps (log) ·
    fine: power in the upper half of the spectrum over that of the octave below (log) · lines: highest peak there over the median (log):
    engraved hatching is regular · paper, ink: shares of pixels near the lightest and darkest tone · chroma and its spread.
    """
    small = to_uint8(resize(pixels, 256, 256))
    # Not larger than it is: an enlarged picture would look as if it had no grain.
    scale = min(1.0, 480 / max(pixels.shape[:2]))
    h, w = (max(32, round(side * scale)) for side in pixels.shape[:2])
    grey = luma(resize(pixels, w, h))
    blocks = grey[: h // 8 * 8, : w // 8 * 8].reshape(h // 8, 8, w // 8, 8).std(axis=(1, 3))
    step = np.abs(np.diff(grey, axis=1))
    light, dark = np.percentile(grey, 95), np.percentile(grey, 5)
    chroma = (small.max(2).astype(np.float32) - small.min(2)) / 255
    fine, lines = _spectrum(grey)
    fives = (small.astype(np.int32) >> 3).reshape(-1, 3)
    values = {
        "noise_floor": float(np.percentile(blocks, 10)),
        "colours": float(np.log(len(np.unique(fives @ (1, 32, 1024))))),
        "flat": float((step < 2).mean()),
        "spikes": float(np.log((step**4).mean() / ((step**2).mean() + 1e-3) ** 2 + 1)),
        "fine": fine,
        "lines": lines,
        "paper": float((grey > light - 12).mean()),
        "ink": float((grey < dark + 12).mean()),
        "chroma": float(chroma.mean()),
        "chroma_spread": float(chroma.std()),
    }
    return {key: round(value, 4) for key, value in values.items()}


def vector(cues: Mapping[str, float], features: str = "") -> np.ndarray:
    """float64 [10], or [266] with packed features (see `duplicates.pack_features`)."""
    row = np.array([cues[name] for name in CUES])
    return np.concatenate((row, unpack_features(features))) if features else row


def drawing_chance(cues: Mapping[str, float], features: str = "") -> float:
    """How likely a picture is a drawing or painting, 0..1."""
    model = _models()["features" if features else "cues"]
    return round(float(model.chance(vector(cues, features)[None])[0]), 3)


def fit(x: np.ndarray, drawn: np.ndarray, *, ridge: np.ndarray | float = 1.0) -> LogisticModel:
    """Ridge-penalised logistic regression by Newton's method. x: [N,D]. drawn: bool [N]. ridge: penalty of each weight, scalar or [D]."""
    mean, spread = x.mean(0), x.std(0) + 1e-6
    rows = np.concatenate(((x - mean) / spread, np.ones((len(x), 1))), 1)
    penalty = np.append(np.broadcast_to(ridge, x.shape[1]), 1e-6)
    weights = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ (chance - drawn) + penalty * weights
        bend = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.diag(penalty)
        change = np.linalg.solve(bend, slope)
        weights -= change
        if np.abs(change).max() < 1e-6:
            break
    return LogisticModel(mean, spread, weights[:-1], float(weights[-1]))


def as_json(model: LogisticModel) -> dict[str, Any]:
    """For `drawing.json`: five significant digits are far below the noise of the labels."""
    rows = {"mean": model.mean, "spread": model.spread, "weights": model.weights}
    return {
        **{key: [float(f"{v:.5g}") for v in value] for key, value in rows.items()},
        "bias": float(f"{model.bias:.5g}"),
    }


@cache
def _models() -> dict[str, LogisticModel]:
    text = resources.files("installation.training.data").joinpath("drawing.json").read_text(encoding="utf-8")
    return {
        key: LogisticModel(np.array(row["mean"]), np.array(row["spread"]), np.array(row["weights"]), row["bias"])
        for key, row in json.loads(text)["models"].items()
    }


def _spectrum(grey: np.ndarray) -> tuple[float, float]:
    """fine and lines, from 128-px tiles."""
    n = min(128, *grey.shape)
    window = np.outer(np.hanning(n), np.hanning(n))
    total = np.zeros((n, n))
    for top in range(0, grey.shape[0] - n + 1, n // 2):
        for left in range(0, grey.shape[1] - n + 1, n // 2):
            tile = grey[top : top + n, left : left + n]
            total += np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    high = total[(frequency > 0.25) & (frequency < 0.5)]
    middle = total[(frequency > 0.125) & (frequency < 0.25)]
    fine = float(np.log((high.mean() + 1e-3) / (middle.mean() + 1e-3)))
    return fine, float(np.log((np.percentile(high, 99.5) + 1e-3) / (np.median(high) + 1e-3)))
