"""`installation judge rank`: the seeds that a stage's critic believes in, as a tour for a show, as a list, and as a picture to check it by.

The critic is no judge of taste. It finds what is broken: the sheet shows its best and its worst, and the artist strikes out the rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from installation.errors import OutputError
from installation.files import fingerprint
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.training.records import write_bytes, write_png
from installation.training.runs import RUN_FILE, STATE_NAME, network_in, read_run
from installation.training.stage.rank import best, portrait, rank_seeds

TOUR, SCORES, SHEET = "tour.toml", "scores.csv", "sheet.png"
_COLUMNS, _CELL, _LINE, _SHOWN = 6, 192, 18, 12


def curate(
    run: Path,
    previous: Sequence[Path],
    out: Path,
    *,
    seeds: Sequence[int],
    stops: int = 12,
    hold_s: float = 4.0,
    psi: float = 0.7,
    device: str = "auto",
    progress: Callable[[str, float | None], None] = lambda what, share: None,
) -> list[Path]:
    """Ranks `seeds` and writes three files into the folder `out`; their paths.

    tour.toml: the best `stops` as [[walk.tour]] of a show. scores.csv: every seed, best first. sheet.png: the twelve best above the
    twelve worst, enlarged by the stage. run: a stage's folder. previous: the checkpoints before it, base first. OutputError where `run`
    is no run or the disk refuses; else as `rank_seeds`.
    """
    if not (run / RUN_FILE).is_file():
        raise OutputError(
            "is no run's folder: its critic is wanted", where=str(run), fix="Name what `train stage` made"
        )
    stage = network_in(run)
    scores = rank_seeds(run / STATE_NAME, previous, stage, seeds, psi=psi, device=device, progress=progress)
    order = best(seeds, scores, 1.0)
    by = dict(zip(seeds, scores.tolist(), strict=True))
    tour = _tour([(seed, by[seed]) for seed in order[:stops]], hold_s, run.resolve().name, len(seeds), psi)
    shown = min(_SHOWN, max(1, len(order) // 2))
    first, *between = (checkpoint.load(path) for path in (*previous, stage))
    cascade = Cascade(first, between, device=device, graph=False)
    sheet = _sheet(cascade, [(seed, by[seed]) for seed in (*order[:shown], *order[-shown:])], psi, progress)
    rows = io.StringIO()
    csv.writer(rows, lineterminator="\n").writerows([("seed", "score"), *((s, f"{by[s]:.6g}") for s in order)])
    files = [write_bytes(out / name, data.encode()) for name, data in ((TOUR, tour), (SCORES, rows.getvalue()))]
    return [*files, write_png(out / SHEET, sheet)]


def follows(run: Path, previous: Sequence[Path]) -> bool:
    """Whether a stage's run was trained after these very networks: of others its critic knows less."""
    parents = read_run(run).parents
    return [fingerprint(path) for path in previous] == [
        parents[role] for role in sorted(parents) if role.startswith("previous")
    ]


def _tour(stops: Sequence[tuple[int, float]], hold_s: float, run: str, among: int, psi: float) -> str:
    lines = [
        f"# The {len(stops)} best of {among} seeds, by the critic of the stage {run!r}; truncation {psi:g}.",
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
