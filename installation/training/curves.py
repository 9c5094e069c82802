"""A run's numbers as curves in one PNG: one small panel for each number, images along the x axis. Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

_WIDTH, _HEIGHT, _MARGIN, _COLUMNS = 420, 200, 34, 3
_PAPER, _FRAME, _TEXT, _RAW, _LINE = (250, 250, 248), (205, 205, 200), (40, 40, 40), (205, 215, 230), (30, 80, 160)
_MOST_POINTS = 400


def draw_curves(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> np.ndarray:
    """uint8 [H, W, 3]. rows: with `nimg` and numbers (missing or None: not measured then). A name that was never measured has no panel.

    The pale line is what was measured, the dark one its running mean over a twentieth of the run.
    """
    panels = []
    for name in names:
        points = [(float(row["nimg"]), float(row[name])) for row in rows if isinstance(row.get(name), (int, float))]
        points = [point for point in points if all(map(math.isfinite, point))]
        if points:
            panels.append(_panel(name, _thin(np.array(sorted(points)))))
    if not panels:
        panels = [_panel("nothing measured yet", np.zeros((0, 2)))]
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    page = Image.new("RGB", (columns * _WIDTH, lines * _HEIGHT), _PAPER)
    for i, panel in enumerate(panels):
        page.paste(panel, ((i % columns) * _WIDTH, (i // columns) * _HEIGHT))
    return np.asarray(page)


def _thin(points: np.ndarray) -> np.ndarray:
    """[N, 2] -> at most _MOST_POINTS rows, each the mean of its neighbours."""
    if len(points) <= _MOST_POINTS:
        return points
    return np.array([part.mean(axis=0) for part in np.array_split(points, _MOST_POINTS)])


def _panel(name: str, points: np.ndarray) -> Image.Image:
    panel = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(panel)
    left, top, right, bottom = _MARGIN + 16, _MARGIN - 8, _WIDTH - 14, _HEIGHT - _MARGIN + 8
    draw.rectangle((left, top, right, bottom), outline=_FRAME)
    draw.text((left, 6), name, fill=_TEXT)
    if not len(points):
        return panel
    x, y = points[:, 0], points[:, 1]
    # The first numbers of a run are often far from all later ones.
    lo, hi = (float(v) for v in np.quantile(y, (0.01, 0.99)))
    if hi - lo < 1e-9 * max(abs(hi), 1.0):
        lo, hi = lo - 0.5 * max(abs(lo), 1e-3), hi + 0.5 * max(abs(hi), 1e-3)
    begin, end = float(x[0]), max(float(x[-1]), float(x[0]) + 1)

    def place(values: np.ndarray) -> list[tuple[float, float]]:
        across = left + (x - begin) / (end - begin) * (right - left)
        up = bottom - np.clip((values - lo) / (hi - lo), 0, 1) * (bottom - top)
        return [(float(a), float(b)) for a, b in zip(across, up, strict=True)]

    draw.line(place(y), fill=_RAW)
    draw.line(place(_smooth(y)), fill=_LINE, width=2)
    draw.text((4, top - 4), f"{hi:.3g}", fill=_TEXT)
    draw.text((4, bottom - 8), f"{lo:.3g}", fill=_TEXT)
    draw.text((left, bottom + 4), f"{begin / 1000:.0f}", fill=_TEXT)
    text = f"{end / 1000:.0f} kimg"
    draw.text((right - draw.textlength(text), bottom + 4), text, fill=_TEXT)
    return panel


def _smooth(y: np.ndarray) -> np.ndarray:
    half = max(len(y) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(y)])
    first = np.maximum(np.arange(len(y)) - half, 0)
    last = np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (total[last] - total[first]) / (last - first)
