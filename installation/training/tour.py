"""Seeds with scores as a tour for a show, as a list, and as a picture to check the scores by.

No score is taste: a measure finds what is broken, the sheet shows its best and its worst, and the artist strikes out the rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import OutputError, unwritable
from installation.latent.sphere import seed_z, to_sphere
from installation.models.cascade import Cascade
from installation.training.picture import frame_of
from installation.training.progress import Shared
from installation.training.records import write_bytes, write_png

TOUR, SCORES, SHEET = "tour.toml", "scores.csv", "sheet.png"
_COLUMNS, _CELL, _LINE, _SHOWN = 6, 192, 18, 12


@dataclass(frozen=True, slots=True)
class TourPlan:
    """out: the folder of a tour's files. seeds: those looked at. stops: how many of the best make the tour, with hold_s seconds of rest at
    each. psi: truncation."""

    out: Path
    seeds: Sequence[int]
    stops: int = 12
    hold_s: float = 4.0
    psi: float = 0.7


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
        raise unwritable(error, out) from error


def write_tour(
    plan: TourPlan,
    cascade: Cascade,
    scores: np.ndarray,
    *,
    by: str,
    progress: Shared = lambda what, share: None,
) -> list[Path]:
    """Writes three files into the plan's folder; their paths.

    tour.toml: the best as [[walk.tour]] of a show. scores.csv: every seed, best first. sheet.png: the twelve best above the
    twelve worst, as the cascade makes them. scores: one for each seed, the higher the better; -inf is no stop. by: who gave them.
    OutputError: the disk refuses.
    """
    order = best(plan.seeds, scores, 1.0)
    score = dict(zip(plan.seeds, scores.tolist(), strict=True))
    tour = _tour([(seed, score[seed]) for seed in order[: plan.stops] if score[seed] > -np.inf], plan, by)
    shown = min(_SHOWN, max(1, len(order) // 2))
    sheet = _sheet(cascade, [(seed, score[seed]) for seed in (*order[:shown], *order[-shown:])], plan.psi, progress)
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([("seed", "score"), *((s, f"{score[s]:.6g}") for s in order)])
    files = [write_bytes(plan.out / name, data.encode()) for name, data in ((TOUR, tour), (SCORES, rows.getvalue()))]
    return [*files, write_png(plan.out / SHEET, sheet)]


def _tour(stops: Sequence[tuple[int, float]], plan: TourPlan, by: str) -> str:
    lines = [
        f"# The {len(stops)} best of {len(plan.seeds)} seeds, by {by}; truncation {plan.psi:g}.",
        '# Put them into a show, with   walk.mode = "tour"   under [params]; strike out what you do not like.',
    ]
    for seed, score in stops:
        lines += ["", "[[walk.tour]]", f"seed = {seed}  # score {score:.3g}", f"hold_s = {plan.hold_s:g}"]
    return "\n".join(lines) + "\n"


def _sheet(cascade: Cascade, chosen: Sequence[tuple[int, float]], psi: float, progress: Shared) -> np.ndarray:
    from PIL import Image, ImageDraw

    columns = min(_COLUMNS, max(1, len(chosen) // 2))
    rows = -(-len(chosen) // columns)
    page = Image.new("RGB", (columns * _CELL, rows * (_CELL + _LINE)), (24, 24, 24))
    draw = ImageDraw.Draw(page)
    for i, (seed, score) in enumerate(chosen):
        progress("drawing the sheet", i / len(chosen))
        frame = frame_of(portrait(cascade, seed, psi)[0])
        picture = Image.fromarray(np.ascontiguousarray(frame)).resize((_CELL - 4, _CELL - 4), Image.Resampling.LANCZOS)
        x, y = i % columns * _CELL, i // columns * (_CELL + _LINE)
        page.paste(picture, (x + 2, y + 2))
        draw.text((x + 4, y + _CELL), f"{seed}   {score:.3g}", fill=(230, 230, 230))
    return np.asarray(page)
