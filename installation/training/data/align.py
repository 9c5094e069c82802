"""`installation data align`: the FFHQ-style crop of every face that is worth one, as PNG of one size. Nothing is ever enlarged."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from installation import files, machine
from installation.errors import ConfigError, OutputError
from installation.training.data import pool
from installation.training.data.crop import cut, ffhq_quad
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.rules import Rules
from installation.training.dataset import FACE_MARK
from installation.training.picture import PictureError, read_picture
from installation.training.progress import Counted
from installation.training.records import mark_made

# Of the wanted size: a fifth less detail than pixels still looks whole.
TRUE_SIZE = 0.8
# Share of a crop that may lie outside its picture; what somebody kept by hand may have as much as no rule asks about.
_OUTSIDE, _OUTSIDE_BY_HAND = 0.1, Rules().outside[0]
MIN_SIZE, MAX_SIZE = 16, 4096
# Bytes; file systems take 255, and a draft's name is longer than the crop's.
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Aligned:
    """crops: files there are now. pictures: that gave at least one. passed: reason -> how many faces or pictures gave none."""

    crops: int
    pictures: int
    passed: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    path: str
    sha256: str
    # (index of the face, its five points, target file) of each crop.
    faces: tuple[tuple[int, list[list[float]], str], ...]
    size: int


def align(
    manifest_path: Path | str,
    out_folder: Path | str,
    *,
    size: int,
    uncertain: bool = False,
    workers: int | None = None,
    progress: Counted | None = None,
) -> Aligned:
    """Cut the faces of the kept pictures (and of the uncertain ones if `uncertain`) to size × size px into out_folder.

    A face is passed over if its crop has fewer than `size` px or less than 0.8 × size px of detail, lies outside the picture by more
    than a tenth of its area (kept by hand: than 0.2), or has a larger face in it. Crops that are there and belong to the same
    picture stay. The manifest gets each crop's file and sha256. ConfigError where photographs lie in out_folder, which no scan would find
    again; OutputError if the disk is full or refuses; killed anywhere, the same command goes on.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ConfigError(f"size {size} px is not between {MIN_SIZE} and {MAX_SIZE}")
    folder = Path(out_folder).resolve()
    with Manifest.writing(manifest_path) as manifest:
        places = {manifest.place(name).parent.resolve() for name in manifest.entries}
        places |= {Path(source) for source in manifest.sources.values()}
        if any(place.is_relative_to(folder) for place in places):
            raise ConfigError(
                "the photographs lie in this folder", where=str(folder), fix="Name a new one for the crops"
            )
        mark_made(folder)
        wanted = [
            e for e in manifest.entries.values() if e.decision == "keep" or (uncertain and e.decision == "uncertain")
        ]
        passed: Counter[str] = Counter()
        tasks = [task for e in wanted if (task := _plan(e, manifest, folder, size, passed))]
        todo = [task for task in tasks if not _done(manifest.entries[task.name], task)]
        done = len(tasks) - len(todo)
        workers = min(workers or machine.cores(), max(1, len(todo)))
        for name, crops, fault in pool.each(_cut, todo, workers=workers, died=_died):
            entry = manifest.entries[name]
            if fault:
                passed[fault] += 1
            else:
                others = [crop for crop in entry.crops if crop["size"] != size]
                manifest.put(replace(entry, crops=others + crops))
            done += 1
            if progress:
                progress(done, len(tasks), name)
        # A picture that was dropped since has no crops any more, whatever lies in the folder.
        for entry in list(manifest.entries.values()):
            if entry.name not in {task.name for task in tasks} and any(crop["size"] == size for crop in entry.crops):
                manifest.entries[entry.name] = replace(entry, crops=[c for c in entry.crops if c["size"] != size])
        manifest.save()
        made = [sum(crop["size"] == size for crop in entry.crops) for entry in manifest.entries.values()]
        return Aligned(sum(made), sum(count > 0 for count in made), dict(passed.most_common()))


def _plan(entry: Entry, manifest: Manifest, folder: Path, size: int, passed: Counter[str]) -> _Task | None:
    faces = []
    if not entry.faces:
        passed["no face"] += 1
    for i, face in enumerate(entry.faces):
        detail = 1.0 if face["detail"] is None else face["detail"]
        if face["side"] < size:
            passed[f"smaller than {size} px"] += 1
        elif face["side"] * detail < TRUE_SIZE * size:
            passed["too little detail"] += 1
        elif face["outside"] > (_OUTSIDE_BY_HAND if entry.by == "hand" else _OUTSIDE):
            passed["too near the edge"] += 1
        elif i > 0 and face["others"]:
            passed["a larger face in the crop"] += 1
        else:
            faces.append((i, face["points"], str(folder / _crop_name(entry, i))))
    return _Task(entry.name, str(manifest.place(entry.name)), entry.sha256, tuple(faces), size) if faces else None


def _crop_name(entry: Entry, face: int) -> str:
    """The picture's name with `.png`; where that is too long for a file, its bytes' digest."""
    mark = f"{FACE_MARK}{face + 1}" if face else ""
    place, _, name = entry.name.rpartition("/")
    if len(name.encode()) > _LONGEST_NAME:
        name = entry.sha256
    return f"{place}/{name}{mark}.png"


def _done(entry: Entry, task: _Task) -> bool:
    there = {crop["file"]: crop["sha256"] for crop in entry.crops if crop["size"] == task.size}
    return all(file in there and Path(file).is_file() for _, _, file in task.faces) and len(there) == len(task.faces)


def _cut(task: _Task) -> tuple[str, list[dict[str, Any]], str]:
    """(name, crops, why not). In a worker."""
    from PIL import Image

    try:
        if files.fingerprint(Path(task.path)) != task.sha256:
            return task.name, [], "changed since the scan"
        pixels = read_picture(task.path).pixels
    except (PictureError, OSError):
        return task.name, [], "unreadable now"
    crops = []
    for index, points, target in task.faces:
        data = io.BytesIO()
        Image.fromarray(cut(pixels, ffhq_quad(np.array(points)), task.size)).save(data, "PNG", compress_level=3)
        raw = data.getvalue()
        _write(Path(target), raw)
        crops.append({"file": target, "size": task.size, "face": index, "sha256": hashlib.sha256(raw).hexdigest()})
    return task.name, crops, ""


def _died(task: _Task) -> tuple[str, list[dict[str, Any]], str]:
    return task.name, [], "cutting it ended the process"


def _write(path: Path, data: bytes) -> None:
    try:
        files.write_whole(path, data)
    except OSError as error:
        fix = "Make room, or name another folder, and give the same command again: it goes on"
        raise OutputError(
            f"a crop could not be written ({error.strerror or error})", where=str(path), fix=fix
        ) from error
