"""Numbers of runs as curves in one picture: a small panel for each number, images along the x axis, a colour for each run. Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Rows = Sequence[Mapping[str, Any]]
_Colour = tuple[int, int, int]

_WIDTH, _HEIGHT, _MARGIN, _COLUMNS, _LEGEND = 420, 200, 34, 3, 24
_PAPER, _FRAME, _TEXT = (250, 250, 248), (205, 205, 200), (40, 40, 40)
_COLOURS = ((30, 80, 160), (200, 80, 30), (40, 130, 60), (140, 60, 150), (120, 110, 20))
_MOST_POINTS = 400


def draw_curves(runs: Mapping[str, Rows], names: Sequence[str]) -> np.ndarray:
    """uint8 [H, W, 3]. runs: by name, rows with `nimg` and numbers (missing, None or not finite: not measured then).

    A number that was never measured has no panel. The pale line is what was measured, the dark one its running mean over a twentieth of
    the run. With several runs a line on top says whose colour is whose.
    """
    panels = []
    for name in names:
        lines = {i: points for i, rows in enumerate(runs.values()) if len(points := _points(rows, name))}
        if lines:
            panels.append(_panel(name, lines))
    if not panels:
        panels = [_panel("nothing measured yet", {})]
    columns = min(_COLUMNS, len(panels))
    top = _LEGEND if len(runs) > 1 else 0
    page = Image.new("RGB", (columns * _WIDTH, top + math.ceil(len(panels) / columns) * _HEIGHT), _PAPER)
    for i, panel in enumerate(panels):
        page.paste(panel, ((i % columns) * _WIDTH, top + (i // columns) * _HEIGHT))
    if top:
        _legend(page, list(runs))
    return np.asarray(page)


def _points(rows: Rows, name: str) -> np.ndarray:
    """[N, 2] of nimg and value, in order, thinned."""
    points = [(float(row["nimg"]), float(row[name])) for row in rows if isinstance(row.get(name), (int, float))]
    return _thin(np.array(sorted(point for point in points if all(map(math.isfinite, point)))).reshape(-1, 2))


def _thin(points: np.ndarray) -> np.ndarray:
    """[N, 2] -> at most _MOST_POINTS rows, each the mean of its neighbours."""
    if len(points) <= _MOST_POINTS:
        return points
    return np.array([part.mean(axis=0) for part in np.array_split(points, _MOST_POINTS)])


def _legend(page: Image.Image, names: Sequence[str]) -> None:
    draw, x = ImageDraw.Draw(page), 12
    for i, name in enumerate(names):
        text = name.encode("latin-1", "replace").decode("latin-1")  # all that Pillow's own font has
        draw.text((x, 8), text, fill=_colour(i))
        x += 20 + int(draw.textlength(text))


def _panel(name: str, lines: Mapping[int, np.ndarray]) -> Image.Image:
    """lines: the points of each run, by the run's place."""
    panel = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(panel)
    left, top, right, bottom = _MARGIN + 16, _MARGIN - 8, _WIDTH - 14, _HEIGHT - _MARGIN + 8
    draw.rectangle((left, top, right, bottom), outline=_FRAME)
    draw.text((left, 6), name, fill=_TEXT)
    if not lines:
        return panel
    points = np.concatenate(list(lines.values()))
    # The first numbers of a run are often far from all later ones.
    lo, hi = (float(v) for v in np.quantile(points[:, 1], (0.01, 0.99)))
    if hi - lo < 1e-9 * max(abs(hi), 1.0):
        lo, hi = lo - 0.5 * max(abs(lo), 1e-3), hi + 0.5 * max(abs(hi), 1e-3)
    begin = float(points[:, 0].min())
    end = max(float(points[:, 0].max()), begin + 1)

    def place(x: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
        across = left + (x - begin) / (end - begin) * (right - left)
        up = bottom - np.clip((values - lo) / (hi - lo), 0, 1) * (bottom - top)
        return [(float(a), float(b)) for a, b in zip(across, up, strict=True)]

    for i, run in lines.items():
        draw.line(place(run[:, 0], run[:, 1]), fill=_pale(_colour(i)))
    for i, run in lines.items():
        smooth = place(run[:, 0], _smooth(run[:, 1]))
        if len(smooth) == 1:
            (x, y), reach = smooth[0], 2
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=_colour(i))
        else:
            draw.line(smooth, fill=_colour(i), width=2)
    draw.text((4, top - 4), f"{hi:.3g}", fill=_TEXT)
    draw.text((4, bottom - 8), f"{lo:.3g}", fill=_TEXT)
    draw.text((left, bottom + 4), f"{begin / 1000:.0f}", fill=_TEXT)
    text = f"{end / 1000:.3g} kimg"
    draw.text((right - draw.textlength(text), bottom + 4), text, fill=_TEXT)
    return panel


def _colour(i: int) -> _Colour:
    return _COLOURS[i % len(_COLOURS)]


def _pale(colour: _Colour) -> _Colour:
    r, g, b = (round(value + 0.75 * (paper - value)) for value, paper in zip(colour, _PAPER, strict=True))
    return r, g, b


def _smooth(y: np.ndarray) -> np.ndarray:
    half = max(len(y) // 40, 1)
    total = np.concatenate([[0.0], np.cumsum(y)])
    first = np.maximum(np.arange(len(y)) - half, 0)
    last = np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (total[last] - total[first]) / (last - first)
