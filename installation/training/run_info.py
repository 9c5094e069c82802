"""What the folders of training runs say: the reader of what runs.py writes. Any process may read while another writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from installation import locks
from installation.errors import CheckpointError, InstallationError
from installation.training.judge.judgement import SUFFIX, Judgement, read_judgement
from installation.training.runs import EXPORT_NAME, LOCK_FILE, METRICS_FILE, RUN_FILE, run_json


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run's folder says. fault: why it cannot be read, "" when it can; then the other facts are empty.

    nimg: images seen by the newest line. last: the newest value of each number. rows: all lines, oldest first, each with `nimg` and
    `time`. running: a process is writing it now. judgements: newest last; damaged: of those that cannot be read, why.
    """

    name: str
    folder: Path
    kind: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    dataset_sha256: str = ""
    manifest_sha256: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()
    judgements: tuple[Judgement, ...] = ()
    damaged: tuple[str, ...] = ()
    running: bool = False
    fault: str = ""

    @property
    def nimg(self) -> int:
        """Images seen by the newest line; 0 before the first."""
        return int(self.rows[-1]["nimg"]) if self.rows else 0

    @property
    def last(self) -> dict[str, float]:
        """The newest value of each number that was ever written, by name."""
        found: dict[str, float] = {}
        for row in self.rows:
            found |= {name: value for name, value in row.items() if name not in ("nimg", "time") and value is not None}
        return found

    @property
    def judgement(self) -> Judgement | None:
        """The one of the most images seen; of several of one checkpoint, the newest."""
        return max(self.judgements, key=lambda one: (one.nimg or 0, one.made), default=None)


def list_runs(root: Path) -> list[RunInfo]:
    """Every run below `root`, oldest first, read afresh; damaged ones at the end, with their fault. No root, no runs."""
    folders = {path.parent for name in (RUN_FILE, METRICS_FILE) for path in Path(root).glob(f"*/{name}")}
    runs = [read_run(folder) for folder in sorted(folders)]
    return sorted(runs, key=lambda run: (bool(run.fault), run.started, run.name))


def read_run(folder: Path) -> RunInfo:
    """The run in a folder. Never raises for what the folder holds: a damaged one says so in `fault`."""
    folder = Path(folder)
    try:
        data = run_json(folder)
        judgements, damaged = _judgements(folder)
        return RunInfo(
            name=folder.name,
            folder=folder,
            kind=str(data["kind"]),
            config=data["config"],
            dataset_sha256=str(data["dataset_sha256"]),
            manifest_sha256=str(data.get("manifest_sha256", "")),
            parents=data["parents"],
            code=str(data.get("code", "")),
            machine=data["machine"] if isinstance(data.get("machine"), dict) else {},
            started=str(data.get("started", "")),
            rows=tuple(read_metrics(folder / METRICS_FILE)),
            judgements=judgements,
            damaged=damaged,
            running=_is_locked(folder / LOCK_FILE),
        )
    except InstallationError as error:
        return RunInfo(name=folder.name, folder=folder, fault=error.what)
    except OSError as error:
        return RunInfo(name=folder.name, folder=folder, fault=f"cannot be read ({error.strerror or error})")


def _judgements(folder: Path) -> tuple[tuple[Judgement, ...], tuple[str, ...]]:
    """(readable ones, newest last; why the others are not)."""
    found, damaged = [], []
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        try:
            found.append(read_judgement(path))
        except InstallationError as error:
            damaged.append(f"{path.relative_to(folder)}: {error.what}")
    return tuple(sorted(found, key=lambda one: one.made)), tuple(damaged)


def network_in(path: Path) -> Path:
    """The checkpoint that a path means: the file itself, or the newest network of a run's folder. CheckpointError where it has none yet."""
    if not (path / RUN_FILE).is_file():
        return path
    if not (path / EXPORT_NAME).is_file():
        raise CheckpointError("the run has made no network yet", where=str(path), fix="Train it a little longer")
    return path / EXPORT_NAME


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl in order of nimg, without those that a return to an older state made void. No file, no lines."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # cut short, or being written at this moment
            continue
        if not isinstance(row, dict) or not isinstance(row.get("nimg"), int):
            continue
        while rows and rows[-1]["nimg"] > row["nimg"]:
            rows.pop()
        rows.append({name: value for name, value in row.items() if value is None or _is_number(value)})
    return rows


def _is_number(value: Any) -> bool:
    """Not the whole numbers without end that JSON may hold: no float takes them."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)


def _is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        locks.take(path).release()
    except Timeout:
        return True
    except OSError:  # a read-only copy of the run
        return False
    return False
