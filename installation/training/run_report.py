"""The registry for people: tables as text, runs side by side, their curves as one PNG. No torch, no plotting library."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from installation.errors import ConfigError, InstallationError, OutputError
from installation.files import fingerprint
from installation.models.header import read_header
from installation.training.curves import draw_curves
from installation.training.judge.judgement import COLUMNS, Judgement, Number, Verdict
from installation.training.judge.judgement import compare as compare_judgements
from installation.training.records import write_png
from installation.training.run_info import RunInfo
from installation.training.runs import EXPORT_NAME

LIST_HEADS = ("run", "kind", "kimg", "score", "judged at", "state", "started")
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side. names: of the runs. config, numbers: (key, a text for each run); config where they differ, numbers the newest.

    judged: (measure, a text for each run), Q first. judged_at: for each run, at how many images, and whether its network is another now.
    verdicts: of each judged run but the first of them, against that one, by name.
    kit: that all were judged by, "" where fewer than two are judged. unjudged: names.
    """

    names: tuple[str, ...]
    config: tuple[tuple[str, ...], ...]
    numbers: tuple[tuple[str, ...], ...]
    judged: tuple[tuple[str, ...], ...]
    judged_at: tuple[str, ...]
    verdicts: tuple[tuple[str, str, tuple[Verdict, ...]], ...]
    kit: str
    unjudged: tuple[str, ...]


def list_rows(runs: Sequence[RunInfo]) -> list[tuple[str, ...]]:
    """A row of LIST_HEADS for each run."""
    rows = []
    for run in runs:
        state = f"damaged: {run.fault}" if run.fault else "running" if run.running else "stopped"
        score = (run.judgement.headline(), _judged_at(run, run.judgement)) if run.judgement else ("", "")
        rows.append((run.name, run.kind, f"{run.nimg / 1000:.5g}", *score, state, run.started))
    return rows


def show_rows(run: RunInfo) -> list[tuple[str, str]]:
    """(heading, text) rows of one run, in order."""
    if run.fault:
        return [("run", run.name), ("folder", str(run.folder)), ("damaged", run.fault)]
    rows = [("run", run.name), ("kind", run.kind), ("folder", str(run.folder)), ("started", run.started)]
    rows += [("code", run.code), ("dataset", run.dataset_sha256), ("its manifest", run.manifest_sha256 or NOTHING)]
    rows += [(f"from {k}", v) for k, v in run.parents.items()]
    rows += [("images seen", f"{run.nimg:,}"), ("lines of numbers", f"{len(run.rows):,}")]
    rows += [(name, f"{value:.6g}") for name, value in sorted(run.last.items())]
    rows += [(f"config {key}", str(value)) for key, value in sorted(run.config.items())]
    for one in run.judgements:
        rows.append(
            (f"judged {one.made}", f"{one.subject}: {one.headline()}, kit {one.kit[:8]}, at {one.at() or NOTHING}")
        )
    rows += [("damaged judgement", text) for text in run.damaged]
    if run.judgement is not None:
        rows += [("judged at", _judged_at(run, run.judgement)), *judgement_rows(run.judgement)]
    return rows


def judgement_rows(judgement: Judgement) -> list[tuple[str, str]]:
    """(measure, value ± error) of one judgement, then its warnings."""
    rows = [(f"  {_title(name)}", _measured(number)) for name, number in judgement.numbers.items()]
    return [*rows, *(("  note", text) for text in judgement.warnings)]


def compare(runs: Sequence[RunInfo]) -> Comparison:
    """Two or more runs side by side. ConfigError where one is damaged, or two were judged, but not alike (see `judgement.compare`)."""
    for run in runs:
        if run.fault:
            raise ConfigError(f"cannot be compared: {run.fault}", where=str(run.folder))
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    config = [("dataset", *(run.dataset_sha256[:12] for run in runs)), ("code", *(run.code for run in runs))]
    keys = sorted({key for run in runs for key in run.config})
    config += [(key, *(str(run.config.get(key, NOTHING)) for run in runs)) for key in keys]
    measured = sorted({name for run in runs for name in run.last})
    numbers = [(name, *(_number(run.last.get(name)) for run in runs)) for name in measured]
    judgements = {
        name: replace(one, subject=name)
        for name, run, one in zip(names, runs, _judged_alike(runs), strict=True)
        if one is not None
    }
    verdicts, judged, kit = [], [], ""
    if len(judgements) > 1:
        first, *others = judgements.values()
        verdicts = [(first.subject, one.subject, tuple(compare_judgements(first, one))) for one in others]
        kit = first.kit
        for measure in (verdict.name for verdict in verdicts[0][2]):
            cells = (_measured(judgements[n].numbers.get(measure)) if n in judgements else NOTHING for n in names)
            judged.append((_title(measure), *cells))
    return Comparison(
        tuple(names),
        tuple(row for row in config if len(set(row[1:])) > 1),
        tuple(numbers),
        tuple(judged),
        tuple(
            _judged_at(run, judgements[name]) if name in judgements else NOTHING
            for name, run in zip(names, runs, strict=True)
        ),
        tuple(verdicts),
        kit,
        tuple(name for name in names if name not in judgements),
    )


def comparison_text(comparison: Comparison) -> str:
    """All of a comparison as tables in plain text."""
    heads = comparison.names
    parts = ["config, where they differ\n", as_text(("", *heads), comparison.config or [("nothing differs",)])]
    if comparison.numbers:
        parts += ["\nnewest numbers\n", as_text(("", *heads), comparison.numbers)]
    if comparison.verdicts:
        parts += [
            f"\njudged by kit {comparison.kit[:8]}\n",
            as_text(("", *heads), [("at", *comparison.judged_at)]),
            "\n",
        ]
        if len(heads) > 2:
            parts += [as_text(("measure", *heads), comparison.judged)]
        for a, b, verdicts in comparison.verdicts:
            parts += ["\n" if len(heads) > 2 else "", verdicts_text(verdicts, a, b)]
    if comparison.unjudged:
        parts += [f"\nnot judged: {', '.join(comparison.unjudged)}\n"]
    return "".join(parts)


def verdicts_text(verdicts: Sequence[Verdict], a: str, b: str) -> str:
    """A table of two judgements and what their differences mean."""
    rows = [
        (_title(one.name), _measured(one.a), _measured(one.b), f"{one.delta:+.4g} ± {one.se:.2g}", one.text)
        for one in verdicts
    ]
    return as_text(("measure", a, b, "difference", "verdict"), rows)


def as_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text, columns lined up; no heads where all are empty. A row may be shorter than the heads."""
    table = [tuple(heads)] if any(heads) else []
    table += [(*row, *[""] * (len(heads) - len(row))) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines) + "\n"


def write_curves(runs: Sequence[RunInfo], path: Path) -> Path:
    """Every number of the runs as curves, one PNG. OutputError where there is nothing to draw or the disk refuses."""
    names = sorted({name for run in runs for name in run.last})
    if not names:
        raise OutputError("there are no numbers to draw yet", where=", ".join(run.name for run in runs))
    alone = len({run.name for run in runs}) == len(runs)
    named = {run.name if alone else str(run.folder): run.rows for run in runs}
    return write_png(path, draw_curves(named, names))


def _judged_alike(runs: Sequence[RunInfo]) -> list[Judgement | None]:
    """For each run its judgement of the most images, all under the newest conditions that they have in common; None for one not judged.

    ConfigError where two are judged and nothing is in common: which kits, or which settings.
    """
    found = [{_conditions(one): one for one in sorted(run.judgements, key=_age)} for run in runs]
    judged = [by for by in found if by]
    if not judged:
        return [None] * len(runs)
    common = set.intersection(*map(set, judged))
    if not common:
        first, *others = (run.judgement for run in runs if run.judgement is not None)
        for one in others:
            compare_judgements(first, one)
        raise ConfigError("no kit judged all of them", where=", ".join(run.name for run in runs))
    chosen = max(common, key=lambda key: max(by[key].made for by in judged))
    return [by[chosen] if by else None for by in found]


def _judged_at(run: RunInfo, one: Judgement) -> str:
    """`48 kimg`, or `48 kimg; now 53 kimg` where the run has gone on and its network is another than the judged one."""
    at, network = one.at() or NOTHING, run.folder / EXPORT_NAME
    try:
        if fingerprint(network) == one.sha256:
            return at
        nimg = read_header(network).nimg
    except (OSError, InstallationError):  # gone, or no network any more
        return at
    return f"{at}; now {'another' if nimg is None or nimg == one.nimg else f'{nimg / 1000:.5g} kimg'}"


def _conditions(one: Judgement) -> tuple[str, str, str]:
    return one.kit, one.kind, json.dumps(dict(one.settings), sort_keys=True)


def _age(one: Judgement) -> tuple[int, str]:
    return one.nimg or 0, one.made


def _title(measure: str) -> str:
    return COLUMNS[measure].title if measure in COLUMNS else measure


def _measured(number: Number | None) -> str:
    return NOTHING if number is None else f"{number.value:.4g} ± {number.se:.2g}"


def _number(value: float | None) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.6g}"
