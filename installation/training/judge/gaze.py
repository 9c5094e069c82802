"""`installation judge gaze`: which seeds look back. Eyes are what a visitor looks at first, and what small networks fail at most.

In each picture the face is found (MTCNN), and of its eyes is measured how dark the iris is beside the white and the skin about it, whether
a light spot stands where the pupil should be, and whether the two are alike; and of the upper third, where the hair is, how busy it is.
All are held against the other seeds of the same network: the score orders the seeds of one cascade and says nothing across cascades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from installation.errors import ModelError
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.training.data.faces import find_faces
from installation.training.data.mtcnn import MTCNN
from installation.training.data.tone import luma
from installation.training.picture import frame_of, resize, to_uint8
from installation.training.progress import Shared
from installation.training.tour import TourPlan, begin_tour, portrait, write_tour

# The side at which pictures are looked at: the detector finds no more in larger ones.
_SIDE = 256
# An eye's window, in eye distances and in px of its own raster; the iris is about a ninth of the distance wide.
_HALF_WIDTH, _HALF_HEIGHT = 0.25, 0.15
_COLUMNS, _ROWS, _IRIS = 31, 19, 7
_SEARCH = (range(-2, 3), range(-4, 5))
_SURE = 0.99


@dataclass(frozen=True, slots=True)
class Gaze:
    """Of one picture. pale: the paler iris ÷ the eye's light parts. spot: the brighter spot in an iris, likewise. apart: how unlike the
    two irises are in that. alike: correlation of the two eyes, as they are or mirrored, -1..1. busy: mean curvature of the upper third,
    8-bit levels."""

    pale: float
    spot: float
    apart: float
    alike: float
    busy: float


# How much each counts, in standard deviations among the seeds: chosen by eye on 2,400 seeds of two networks.
_WEIGHTS = Gaze(pale=-1.0, spot=-0.7, apart=-0.6, alike=0.8, busy=-0.5)


def gaze(pixels: np.ndarray, detector: MTCNN) -> Gaze | None:
    """Of a picture uint8 [H, W, 3]; None where no face is surely found."""
    faces = find_faces(detector, pixels)
    if not faces or faces[0].confidence < _SURE:
        return None
    grey = luma(pixels).astype(np.float32)
    left, right = (np.array(point) for point in faces[0].points[:2])
    distance = float(np.hypot(*(right - left)))
    eyes = [_window(grey, eye, distance) for eye in (left, right)]
    (dark, spot), (dark2, spot2) = (_iris(eye) for eye in eyes)
    top = grey[: grey.shape[0] * 7 // 20]
    bend = np.abs(4 * top[1:-1, 1:-1] - top[:-2, 1:-1] - top[2:, 1:-1] - top[1:-1, :-2] - top[1:-1, 2:])
    return Gaze(
        pale=max(dark, dark2),
        spot=max(spot, spot2),
        apart=abs(dark - dark2),
        alike=max(_correlation(eyes[0], eyes[1]), _correlation(eyes[0], eyes[1][:, ::-1])),
        busy=float(bend.mean()),
    )


def scores_of(gazes: Sequence[Gaze | None]) -> np.ndarray:
    """float64 [number of seeds], the higher the better; -inf where there is no face."""
    scores = np.full(len(gazes), -np.inf)
    found = [i for i, one in enumerate(gazes) if one is not None]
    if found:
        table = np.array([astuple(one) for one in gazes if one is not None])
        spread = table.std(axis=0)
        scores[found] = (table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0) @ np.array(astuple(_WEIGHTS))
    return scores


def gaze_tour(
    cascade_files: Sequence[Path],
    plan: TourPlan,
    *,
    device: str = "auto",
    progress: Shared = lambda what, share: None,
) -> list[Path]:
    """Ranks the plan's seeds by their gaze and writes the files of `write_tour`; their paths. cascade_files: checkpoints, base first.

    CheckpointError or ModelError where they do not belong together, ModelError where no face is found in any; MissingExtraError without
    the extra `data`.
    """
    detector = MTCNN()
    begin_tour(plan.out)
    base, *stages = (checkpoint.load(path) for path in cascade_files)
    cascade = Cascade(base, stages, device=device, graph=False)
    gazes = []
    for done, seed in enumerate(plan.seeds):
        progress("looking seeds in the eye", done / len(plan.seeds))
        with torch.inference_mode():
            frame = frame_of(portrait(cascade, seed, plan.psi)[0])
        height, width = (round(side * _SIDE / min(frame.shape[:2])) for side in frame.shape[:2])
        gazes.append(gaze(to_uint8(resize(frame, width, height)), detector))
    if not any(gazes):
        what = f"no face was found in {len(gazes)} pictures"
        raise ModelError(what, where=str(cascade_files[0]), fix="Is it a network of portraits? Try another psi")
    return write_tour(plan, cascade, scores_of(gazes), by="their gaze", progress=progress)


def _window(grey: np.ndarray, eye: np.ndarray, distance: float) -> np.ndarray:
    """An eye on a raster of its own, float32 [_ROWS, _COLUMNS]."""
    height, width = grey.shape
    half = np.array((_HALF_WIDTH, _HALF_HEIGHT)) * distance
    low = np.clip(eye - half, 0, (width - 2, height - 2))
    high = np.clip(eye + half, low + 1, (width, height))
    box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return resize(grey[..., None], _COLUMNS, _ROWS, box)[..., 0]


def _iris(eye: np.ndarray) -> tuple[float, float]:
    """(its darkness ÷ the eye's light parts, its brightest spot above that, likewise), at the darkest place near the middle."""
    light = max(float(np.percentile(eye, 85)), 1.0)
    y, x, half = _ROWS // 2, _COLUMNS // 2, _IRIS // 2
    places = [eye[y + dy - half :, x + dx - half :][:_IRIS, :_IRIS] for dy in _SEARCH[0] for dx in _SEARCH[1]]
    iris = min(places, key=lambda place: float(place.mean()))
    return float(iris.mean()) / light, float(iris.max() - iris.mean()) / light


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-6))
