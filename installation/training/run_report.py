"""The registry for people: tables as text and as rows, curves as PNG, two runs side by side. No torch, no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from installation.errors import ConfigError, OutputError
from installation.training.judge.judgement import COLUMNS, Verdict
from installation.training.judge.judgement import compare as compare_judgements
from installation.training.records import DISK_FIX
from installation.training.runs import RunInfo

LIST_HEADS = ("run", "kind", "kimg", "score", "state", "started")
_COLOURS = ((232, 120, 72), (88, 160, 224), (120, 196, 120), (208, 160, 232), (224, 208, 96))
_INK, _PAPER, _RULE = (200, 200, 204), (18, 18, 20), (60, 60, 64)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side. config: (key, a, b) where they differ. numbers: (name, a, b) newest of each. verdicts: by the judge, Q first.

    unjudged: why there are no verdicts, "" where there are.
    """

    a: RunInfo
    b: RunInfo
    config: tuple[tuple[str, str, str], ...]
    numbers: tuple[tuple[str, str, str], ...]
    verdicts: tuple[Verdict, ...]
    unjudged: str = ""


def list_rows(runs: Sequence[RunInfo]) -> list[tuple[str, ...]]:
    """A row of LIST_HEADS for each run."""
    rows = []
    for run in runs:
        state = f"damaged: {run.fault}" if run.fault else "running" if run.running else "stopped"
        score = run.judgement.headline() if run.judgement else ""
        rows.append((run.name, run.kind, f"{run.nimg / 1000:.5g}", score, state, run.started))
    return rows


def show_rows(run: RunInfo) -> list[tuple[str, str]]:
    """(heading, text) rows of one run, in order."""
    if run.fault:
        return [("run", run.name), ("folder", str(run.folder)), ("damaged", run.fault)]
    rows = [("run", run.name), ("kind", run.kind), ("folder", str(run.folder)), ("started", run.started)]
    rows += [("code", run.code), ("dataset", run.dataset_sha256), *((f"from {k}", v) for k, v in run.parents.items())]
    rows += [("images seen", f"{run.nimg:,}"), ("lines of numbers", f"{len(run.rows):,}")]
    rows += [(name, f"{value:.6g}") for name, value in sorted(run.last.items())]
    rows += [(f"config {key}", str(value)) for key, value in sorted(run.config.items())]
    for one in run.judgements:
        rows.append((f"judged {one.made}", f"{one.subject}: {one.headline()}, kit {one.kit[:8]}"))
    if run.judgement is not None:
        for name, number in run.judgement.numbers.items():
            title = COLUMNS[name].title if name in COLUMNS else name
            rows.append((f"  {title}", f"{number.value:.4g} ± {number.se:.2g}"))
        rows += [("  note", text) for text in run.judgement.warnings]
    return rows


def compare(a: RunInfo, b: RunInfo) -> Comparison:
    """Two runs side by side. ConfigError where one is damaged, or where they were judged with different kits."""
    for run in (a, b):
        if run.fault:
            raise ConfigError(f"the run is damaged: {run.fault}", where=str(run.folder))
    config = [("dataset", a.dataset_sha256[:12], b.dataset_sha256[:12]), ("code", a.code, b.code)]
    config += [(key, _text(a.config, key), _text(b.config, key)) for key in sorted({*a.config, *b.config})]
    ours, theirs = a.last, b.last
    numbers = [(name, _number(ours.get(name)), _number(theirs.get(name))) for name in sorted({*ours, *theirs})]
    unjudged, verdicts = "", ()
    if a.judgement is not None and b.judgement is not None:
        verdicts = tuple(compare_judgements(a.judgement, b.judgement))
    else:
        unjudged = "not judged: " + ", ".join(run.name for run in (a, b) if run.judgement is None)
    return Comparison(a, b, tuple(row for row in config if row[1] != row[2]), tuple(numbers), verdicts, unjudged)


def verdict_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, str, str]]:
    """(measure, a, b, difference, verdict) for tables."""
    rows = []
    for one in verdicts:
        title = COLUMNS[one.name].title if one.name in COLUMNS else one.name
        cells = [f"{number.value:.4g} ± {number.se:.2g}" for number in (one.a, one.b)]
        rows.append((title, cells[0], cells[1], f"{one.delta:+.4g} ± {one.se:.2g}", one.text))
    return rows


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text, columns lined up."""
    table = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines) + "\n"


def curve(runs: Sequence[RunInfo], name: str) -> list[tuple[str, np.ndarray]]:
    """(run, float64 [K, 2] of kimg and value) for every run that has the number; NaN left out."""
    found = []
    for run in runs:
        points = [(row["nimg"] / 1000, row[name]) for row in run.rows if row.get(name) is not None]
        if points:
            found.append((run.name, np.array(points, np.float64)))
    return found


def draw_curves(runs: Sequence[RunInfo], path: Path, *, width: int = 720, height: int = 200) -> Path:
    """Every number of the runs, one panel each, as one PNG. OutputError where there is nothing to draw or the disk refuses."""
    from PIL import Image, ImageDraw

    names = sorted({name for run in runs for name in run.last})
    if not names:
        raise OutputError("there are no numbers to draw yet", where=", ".join(run.name for run in runs))
    image = Image.new("RGB", (width, height * len(names) + 24), _PAPER)
    draw = ImageDraw.Draw(image)
    x = 8
    for i, run in enumerate(runs):
        draw.text((x, 6), run.name, fill=_COLOURS[i % len(_COLOURS)])
        x += 16 + int(draw.textlength(run.name))
    order = {run.name: i for i, run in enumerate(runs)}
    for row, name in enumerate(names):
        _panel(
            draw, (56, 24 + row * height + 18, width - 12, 24 + (row + 1) * height - 18), name, curve(runs, name), order
        )
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            image.save(temporary, format="PNG")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"the curves could not be written ({error})", where=str(path), fix=DISK_FIX) from error
    return path


def _panel(
    draw: Any, box: tuple[int, int, int, int], name: str, lines: list[tuple[str, np.ndarray]], order: dict[str, int]
) -> None:
    left, top, right, bottom = box
    points = np.concatenate([values for _, values in lines])
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)
    draw.rectangle(box, outline=_RULE)
    draw.text((left, top - 14), name, fill=_INK)
    for value, y in ((y1, top), (y0, bottom - 10)):
        draw.text((4, y), f"{value:.3g}", fill=_INK)
    for value, x in ((x0, left), (x1, right - 60)):
        draw.text((x, bottom + 2), f"{value:.4g} kimg", fill=_INK)
    for run, values in lines:
        across = left + (values[:, 0] - x0) / (x1 - x0) * (right - left)
        down = bottom - (values[:, 1] - y0) / (y1 - y0) * (bottom - top)
        shape = list(zip(across.tolist(), down.tolist(), strict=True))
        colour = _COLOURS[order[run] % len(_COLOURS)]
        if len(shape) == 1:
            draw.ellipse((shape[0][0] - 2, shape[0][1] - 2, shape[0][0] + 2, shape[0][1] + 2), fill=colour)
        else:
            draw.line(shape, fill=colour, width=1)


def _text(config: Any, key: str) -> str:
    return str(config[key]) if key in config else "–"


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.6g}"
