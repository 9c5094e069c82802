"""Seeds with scores as a tour for a show, as a list, and as a picture to check the scores by.

No score is taste: a measure finds what is broken, the sheet shows its best and its worst, and the artist strikes out the rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import OutputError
from installation.latent.sphere import seed_z, to_sphere
from installation.models.cascade import Cascade
from installation.training.records import DISK_FIX, write_bytes, write_png

TOUR, SCORES, SHEET = "tour.toml", "scores.csv", "sheet.png"
_COLUMNS, _CELL, _LINE, _SHOWN = 6, 192, 18, 12


def portrait(cascade: Cascade, seed: int, psi: float) -> Tensor:
    """img [1, 3, H, W], -1..1: what a show of this cascade calls the portrait of `seed`."""
    return cascade(portrait_ws(cascade, seed, psi)).clamp(-1, 1)


def portrait_ws(cascade: Cascade, seed: int, psi: float) -> Tensor:
    """ws [1, num_ws, w_dim] of that portrait."""
    z = torch.from_numpy(to_sphere(seed_z(seed, cascade.generator.z_dim))[None]).float()
    return cascade.truncate(cascade.mapping(z), psi)


def best(seeds: Sequence[int], scores: np.ndarray, share: float = 0.5) -> list[int]:
    """The better `share` of the seeds, best first; equal scores in the order given."""
    order = np.argsort(-scores, kind="stable")[: max(1, round(share * len(seeds)))]
    return [seeds[i] for i in order]


def begin_tour(out: Path) -> None:
    """Before the seeds are looked at: OutputError where a tour lies in the folder, from which somebody may have struck out, or none can."""
    if (out / TOUR).exists():
        raise OutputError("a tour is here already", where=str(out / TOUR), fix="Name another folder, or delete it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", where=str(out), fix=DISK_FIX) from error


def write_tour(
    out: Path,
    cascade: Cascade,
    seeds: Sequence[int],
    scores: np.ndarray,
    *,
    by: str,
    stops: int,
    hold_s: float,
    psi: float,
    progress: Callable[[str, float | None], None] = lambda what, share: None,
) -> list[Path]:
    """Writes three files into the folder `out`; their paths.

    tour.toml: the best `stops` as [[walk.tour]] of a show. scores.csv: every seed, best first. sheet.png: the twelve best above the
    twelve worst, as the cascade makes them. scores: one for each seed, the higher the better; -inf is no stop. by: who gave them.
    OutputError: the disk refuses.
    """
    order = best(seeds, scores, 1.0)
    score = dict(zip(seeds, scores.tolist(), strict=True))
    tour = _tour([(seed, score[seed]) for seed in order[:stops] if score[seed] > -np.inf], hold_s, by, len(seeds), psi)
    shown = min(_SHOWN, max(1, len(order) // 2))
    sheet = _sheet(cascade, [(seed, score[seed]) for seed in (*order[:shown], *order[-shown:])], psi, progress)
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([("seed", "score"), *((s, f"{score[s]:.6g}") for s in order)])
    files = [write_bytes(out / name, data.encode()) for name, data in ((TOUR, tour), (SCORES, rows.getvalue()))]
    return [*files, write_png(out / SHEET, sheet)]


def _tour(stops: Sequence[tuple[int, float]], hold_s: float, by: str, among: int, psi: float) -> str:
    lines = [
        f"# The {len(stops)} best of {among} seeds, by {by}; truncation {psi:g}.",
        '# Put them into a show, with   walk.mode = "tour"   under [params]; strike out what you do not like.',
    ]
    for seed, score in stops:
        lines += ["", "[[walk.tour]]", f"seed = {seed}  # score {score:.3g}", f"hold_s = {hold_s:g}"]
    return "\n".join(lines) + "\n"


def _sheet(
    cascade: Cascade, chosen: Sequence[tuple[int, float]], psi: float, progress: Callable[[str, float | None], None]
) -> np.ndarray:
    from PIL import Image, ImageDraw

    columns = min(_COLUMNS, max(1, len(chosen) // 2))
    rows = -(-len(chosen) // columns)
    page = Image.new("RGB", (columns * _CELL, rows * (_CELL + _LINE)), (24, 24, 24))
    draw = ImageDraw.Draw(page)
    for i, (seed, score) in enumerate(chosen):
        progress("drawing the sheet", i / len(chosen))
        img = portrait(cascade, seed, psi)[0]
        frame = img.mul(127.5).add(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        picture = Image.fromarray(np.ascontiguousarray(frame)).resize((_CELL - 4, _CELL - 4), Image.Resampling.LANCZOS)
        x, y = i % columns * _CELL, i // columns * (_CELL + _LINE)
        page.paste(picture, (x + 2, y + 2))
        draw.text((x + 4, y + _CELL), f"{seed}   {score:.3g}", fill=(230, 230, 230))
    return np.asarray(page)
