"""Faces of one picture, and what each would be worth as a crop."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from installation.training.data.crop import Quad, ffhq_quad
from installation.training.data.mtcnn import MTCNN
from installation.training.data.resolution import detail
from installation.training.data.tone import luma, sharpness
from installation.training.picture import resize, to_uint8

# The detector looks at no more px than this, and at faces of no less than a 12th of the shorter side.
_LOOK = 640
_SURE = 0.9


@dataclass(frozen=True, slots=True)
class Face:
    """A face, in px of the picture.

    box: left, top, right, bottom. points: eyes, nose, mouth's corners (x, y). confidence: 0..1. side: of its FFHQ crop. outside: the share
    of that crop that lies outside the picture. detail: true resolution within the crop, 0..1 (None: too small to tell). sharpness: see
    `tone`. turned: how far the nose is off the middle, in eye distances. others: faces with their centre in the crop.
    brightness: median luma of the box, 0..1.
    """

    box: list[float]
    points: list[list[float]]
    confidence: float
    side: float
    outside: float
    detail: float | None
    sharpness: float
    turned: float
    others: int
    brightness: float

    @property
    def quad(self) -> Quad:
        """The corners of its FFHQ crop, px."""
        return ffhq_quad(np.array(self.points))

    def as_dict(self) -> dict[str, Any]:
        """Its fields, as JSON takes them."""
        return asdict(self)


def find_faces(detector: MTCNN, pixels: np.ndarray) -> list[Face]:
    """Faces of a picture uint8 [H,W,3] that the detector is sure of, the largest first."""
    height, width = pixels.shape[:2]
    shrink = min(1.0, _LOOK / max(height, width))
    seen = (
        pixels
        if shrink == 1
        else to_uint8(resize(pixels, max(1, round(width * shrink)), max(1, round(height * shrink))))
    )
    boxes, points, confidence = detector.detect(seen, min(seen.shape[:2]) // 12)
    # One factor for each axis: the sizes above were rounded.
    scale = np.array((width / seen.shape[1], height / seen.shape[0]))
    quads = [ffhq_quad(each * scale) for each in points]
    faces = []
    for i, quad in enumerate(quads):
        if confidence[i] >= _SURE and quad.side >= 16:
            others = sum(_inside(quads[k], quad) for k in range(len(quads)) if k != i and confidence[k] >= _SURE)
            faces.append(
                _face(pixels, boxes[i].reshape(2, 2) * scale, points[i] * scale, float(confidence[i]), quad, others)
            )
    return sorted(faces, key=lambda face: -face.side)


def _face(pixels: np.ndarray, box: np.ndarray, points: np.ndarray, confidence: float, quad: Quad, others: int) -> Face:
    inner = _part(pixels, *box.min(0), *box.max(0))
    corners = quad.corners
    about = _part(pixels, *corners.min(0), *corners.max(0))
    across = points[1] - points[0]
    distance = max(float(np.hypot(*across)), 1e-6)
    nose = float((points[2] - (points[0] + points[1]) / 2) @ across) / distance**2
    return Face(
        box=[round(float(each), 1) for each in box.ravel()],
        points=[[round(float(x), 2), round(float(y), 2)] for x, y in points],
        confidence=round(confidence, 3),
        side=round(quad.side, 1),
        outside=round(quad.outside(pixels.shape[1], pixels.shape[0]), 3),
        detail=detail(luma(about)),
        sharpness=sharpness(inner),
        turned=round(abs(nose), 3),
        others=others,
        brightness=round(float(np.median(luma(inner))) / 255, 3),
    )


def _part(pixels: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The pixels in a box, at least one, whatever lies outside left out."""
    height, width = pixels.shape[:2]
    x0, y0 = (int(np.clip(each, 0, size - 1)) for each, size in ((left, width), (top, height)))
    x1, y1 = max(x0 + 1, int(min(right, width))), max(y0 + 1, int(min(bottom, height)))
    return pixels[y0:y1, x0:x1]


def _inside(other: Quad, quad: Quad) -> bool:
    along = np.array(other.centre) - quad.centre
    x = np.array(quad.half)
    reach = float(x @ x)
    return abs(float(along @ x)) < reach and abs(float(along @ (-x[1], x[0]))) < reach
