"""The model card of a trained network as Markdown: pictures kept and dropped, licences, recipe, cost, what the judge says, known faults.

Everything comes from records that the trainers wrote; only the faults are said by a person who looked. Model cards: Mitchell et al. 2019
(arXiv:1810.03993). Imports no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from installation.errors import ConfigError
from installation.models.catalogue import COMMERCIAL_USE
from installation.models.header import Header
from installation.training.dataset import Dataset, source_of
from installation.training.judge.judgement import COLUMNS, Judgement
from installation.training.run_info import RunInfo

# A longer silence between two lines of numbers is a pause of the run, not work.
_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class Card:
    """What a card is made of. dataset: the pictures the run learnt from. parameters: numbers that were trained. judgement: None where
    nobody judged the checkpoint.

    faults: what a person saw. sheets: (caption, path from the card's folder). base: of a stage, what it was trained after.
    """

    header: Header
    run: RunInfo
    dataset: Dataset
    parameters: int
    judgement: Judgement | None = None
    faults: Sequence[str] = ()
    sheets: Sequence[tuple[str, str]] = ()

    def text(self) -> str:
        """Markdown. ConfigError where the run is damaged, or the dataset is not the run's."""
        if self.run.fault:
            raise ConfigError(f"the run is damaged: {self.run.fault}", where=str(self.run.folder))
        if self.run.dataset_sha256 != self.dataset.sha256:
            fix = "Name the dataset that the run was trained on"
            raise ConfigError("the run learnt from other pictures", where=str(self.dataset.path), fix=fix)
        return "\n".join(
            [
                f"# {self.header.name}",
                "",
                *_sheets(self.sheets),
                *_table(("", ""), _network(self.header, self.parameters)),
                "## Pictures",
                "",
                *_pictures(self.dataset),
                "## Training",
                "",
                *_table(("", ""), _training(self.run, self.header)),
                "## Judged",
                "",
                *_judged(self.judgement),
                "## Known faults",
                "",
                *(f"- {fault}" for fault in self.faults or ["Nobody has looked yet."]),
                "",
            ]
        )


def hours(run: RunInfo) -> float:
    """Wall-clock hours of work: pauses between two lines of numbers are left out."""
    times = [float(row["time"]) for row in run.rows if row.get("time") is not None]
    steps = (later - earlier for earlier, later in itertools.pairwise(times))
    return sum(step for step in steps if 0 < step < _PAUSE_S) / 3600


def _network(header: Header, parameters: int) -> list[tuple[str, str]]:
    what = f"generator, {header.size} px" if header.role == "generator" else f"stage, ×{header.scale}"
    rows = [("network", f"{header.arch}: {what}"), ("parameters", f"{parameters:,}")]
    if header.role == "generator":
        rows.append(("latent", f"z {header.z_dim}, w {header.w_dim}"))
    use = COMMERCIAL_USE[header.commercial_use]
    return [*rows, ("licence", header.licence), ("commercial use", use), ("notes", header.notes)]


def _pictures(dataset: Dataset) -> Iterator[str]:
    manifest = dataset.manifest
    yield f"{len(dataset):,} pictures of {dataset.size} px, sha256 `{dataset.sha256}`."
    yield ""
    if sources := manifest.get("sources"):
        rows = [(one["name"], f"{one['kept']:,} of {one['pictures']:,}", one["licence"]) for one in sources]
        yield from _table(("set", "kept", "licence"), rows)
    elif isinstance(licences := manifest.get("licences"), Mapping):
        windows = f"{manifest['kept']:,} pictures, {manifest['crops']['per_picture']} windows each"
        yield from _table(("set", "kept", "licence"), [(name, windows, text) for name, text in licences.items()])
    elif licences:
        yield f"Licences: {', '.join([licences] if isinstance(licences, str) else licences)}."
        yield ""
    dropped: Mapping[str, int] = manifest.get("dropped", {})
    if said := ", ".join(f"{reason} {count:,}" for reason, count in dropped.items() if count):
        yield f"Dropped, by reason (a picture may have several): {said}."
        yield ""
    if (more := _left_out(dataset)) > 0:
        yield f"Left out besides: {more:,} that were left uncertain or have no whole, sharp face of {dataset.size} px."
        yield ""


def _left_out(dataset: Dataset) -> int:
    """Pictures that no rule dropped and that are not in the dataset."""
    counts, sources = dataset.manifest.get("counts"), dataset.manifest.get("sources")
    if not isinstance(counts, Mapping) or not sources:
        return 0
    packed = {source_of(name) for name in dataset.names}
    return sum(one["pictures"] for one in sources) - counts.get("drop", 0) - len(packed)


def _training(run: RunInfo, header: Header) -> list[tuple[str, str]]:
    seen = header.nimg if header.nimg is not None else run.nimg
    took = hours(run)
    rows = [("images seen", f"{seen / 1000:,.1f} kimg")]
    rows.append(("hours", f"{took:.1f}") if took >= 0.1 else ("minutes", f"{60 * took:.1f}"))
    rows += [("machine", ", ".join(f"{key} {value}" for key, value in run.machine.items())), ("code", run.code)]
    rows += [(f"after ({role})", f"sha256 `{digest}`") for role, digest in run.parents.items()]
    return [*rows, ("recipe", ", ".join(f"{key} {_plain(value)}" for key, value in run.config.items()))]


def _judged(judgement: Judgement | None) -> Iterator[str]:
    if judgement is None:
        yield "Not judged."
        yield ""
        return
    said = ", ".join(f"{key} {value}" for key, value in judgement.settings.items())
    # The network that the card is of may have been trained on since.
    at = f", at {judgement.at()}" if judgement.at() else ""
    yield f"**{judgement.headline()}**, kit `{judgement.kit[:8]}`{', ' if said else ''}{said}, {judgement.made}{at}."
    yield ""
    rows = []
    for name, number in judgement.numbers.items():
        column = COLUMNS.get(name)
        what = (column.title, column.text) if column else (name, "")
        rows.append((what[0], f"{number.value:.4g} ± {number.se:.2g}", what[1]))
    yield from _table(("measure", "value ± s.e.", ""), rows)
    yield from (f"- {warning}" for warning in judgement.warnings)
    if judgement.warnings:
        yield ""


def _sheets(sheets: Sequence[tuple[str, str]]) -> Iterator[str]:
    for caption, path in sheets:
        yield f"![{caption}]({path})"
        yield ""
        yield f"*{caption}*"
        yield ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *(row for row in rows if row[1])]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines] + [""]


def _plain(value: Any) -> str:
    if value is None:
        return "auto"
    if isinstance(value, list):
        return "-".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
