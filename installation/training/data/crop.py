"""The crop of FFHQ (Karras et al., CVPR 2019; its `download_ffhq.py`) from eyes and mouth: where it lies, and its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from installation.training.picture import resize, to_uint8


@dataclass(frozen=True, slots=True)
class Quad:
    """A turned square in a picture. centre, half: x, y in px; half points from the centre to the middle of the right side."""

    centre: tuple[float, float]
    half: tuple[float, float]

    @property
    def side(self) -> float:
        """px."""
        return 2 * math.hypot(*self.half)

    @property
    def corners(self) -> np.ndarray:
        """float64 [4,2]: top left, bottom left, bottom right, top right."""
        c, x = np.array(self.centre), np.array(self.half)
        y = np.array((-x[1], x[0]))
        return np.stack((c - x - y, c - x + y, c + x + y, c + x - y))

    def outside(self, width: int, height: int) -> float:
        """The share of its area outside a picture, 0..1, to 1/1024."""
        t = (np.arange(32) + 0.5) / 16 - 1
        u, v = np.meshgrid(t, t)
        x = self.centre[0] + self.half[0] * u - self.half[1] * v
        y = self.centre[1] + self.half[1] * u + self.half[0] * v
        return float(1 - ((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).mean())


def ffhq_quad(points: np.ndarray) -> Quad:
    """points: [5,2] as `MTCNN.detect` gives them; eyes' centres and mouth's corners stand for the landmarks of the original."""
    eye_l, eye_r, _, mouth_l, mouth_r = np.asarray(points, np.float64)
    eyes, eye_to_eye = (eye_l + eye_r) / 2, eye_r - eye_l
    eye_to_mouth = (mouth_l + mouth_r) / 2 - eyes
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / max(np.hypot(*x), 1e-9)
    centre = eyes + eye_to_mouth * 0.1
    return Quad((float(centre[0]), float(centre[1])), (float(x[0]), float(x[1])))


def cut(pixels: np.ndarray, quad: Quad, size: int) -> np.ndarray:
    """The crop, uint8 [size,size,3]. What lies outside is mirrored and fades into a blur, as in FFHQ.

    ValueError if the quad is smaller than `size`: nothing is ever enlarged.
    """
    from PIL import Image

    if quad.side < size:
        raise ValueError(f"the face has {quad.side:.0f} px, {size} are wanted")
    work = pixels.astype(np.float32)
    corners = quad.corners
    # Far larger than wanted: first halved, thirded ... by an anti-aliased resize, so that the turned sampling below sees no alias.
    shrink = int(quad.side / size / 2)
    if shrink > 1:
        height, width = max(1, round(work.shape[0] / shrink)), max(1, round(work.shape[1] / shrink))
        corners = corners * (width / work.shape[1], height / work.shape[0])
        work = resize(work, width, height)
    side = math.hypot(*(corners[3] - corners[0]))
    work, corners = _window(work, corners, side)
    # Sampled at no less than one sample a source pixel, then reduced by a whole number.
    grain = max(1, math.ceil(side / size))
    fine = grain * size
    order = Image.Transform.QUAD, tuple(float(value) for value in corners.ravel())
    planes = (Image.fromarray(np.ascontiguousarray(work[:, :, c])) for c in range(3))
    sampled = [np.asarray(plane.transform((fine, fine), *order, Image.Resampling.BICUBIC)) for plane in planes]
    return to_uint8(resize(np.stack(sampled, axis=2), size, size))


def _window(work: np.ndarray, corners: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture about the quad, padded by mirroring where the quad leaves it, and the quad in it. Padding as FFHQ's."""
    height, width = work.shape[:2]
    margin = max(3, round(side * 0.1))
    left, top = np.floor(corners.min(0)).astype(int) - margin
    right, bottom = np.ceil(corners.max(0)).astype(int) + margin
    inside = work[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    pad = [max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)]
    corners = corners - (left, top)
    if max(pad) <= margin:  # the quad itself lies inside; the margin is only for the filter
        grown = np.pad(inside, ((pad[0], pad[1]), (pad[2], pad[3]), (0, 0)), mode="edge")
        return grown, corners
    from scipy.ndimage import gaussian_filter

    # FFHQ mirrors at least 0.3 of the side, so that the fade begins well inside.
    reach = round(side * 0.3)
    wide = [max(each, reach) for each in pad]
    grown = np.pad(
        inside,
        ((wide[0], wide[1]), (wide[2], wide[3]), (0, 0)),
        mode="reflect" if min(inside.shape[:2]) > 1 else "edge",
    )
    rows, columns = np.ogrid[: grown.shape[0], : grown.shape[1]]
    near_x = np.minimum(columns / wide[2], (grown.shape[1] - 1 - columns) / wide[3])
    near_y = np.minimum(rows / wide[0], (grown.shape[0] - 1 - rows) / wide[1])
    mask = (1 - np.minimum(near_x, near_y))[:, :, None]
    blurred = gaussian_filter(grown, (side * 0.02, side * 0.02, 0))
    grown = grown + (blurred - grown) * np.clip(mask * 3 + 1, 0, 1)
    grown = grown + (np.median(grown, axis=(0, 1)) - grown) * np.clip(mask, 0, 1)
    return grown.astype(np.float32), corners + np.array((wide[2] - pad[2], wide[0] - pad[0]))
