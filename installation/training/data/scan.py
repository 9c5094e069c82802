"""`installation data scan`: every file of some folders measured, compared with the others, and decided by rule."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from installation import machine
from installation.errors import ConfigError, OutputError
from installation.training.data import pool
from installation.training.data.duplicates import groups
from installation.training.data.extra import versions
from installation.training.data.manifest import Decision, Entry, Manifest
from installation.training.data.measure import Task, check_tools, complete, died, measure, one_thread
from installation.training.data.rules import Rules, decide_all
from installation.training.progress import Counted
from installation.training.records import MADE


@dataclass(frozen=True, slots=True)
class Summary:
    """What a scan found. counts: of each decision. dropped, asked: reason codes and how many pictures they hold for.

    unreadable: names and why. missing: optional scores that were not taken. measured: files that were not known from before.
    gone: pictures of the manifest that are not there now.
    """

    counts: dict[str, int]
    dropped: dict[str, int]
    asked: dict[str, int]
    unreadable: dict[str, str]
    missing: list[str]
    measured: int
    gone: int = 0


def scan(
    folders: Path | str | Sequence[Path | str],
    out_manifest: Path | str,
    *,
    workers: int | None = None,
    progress: Counted | None = None,
    resume: bool = True,
    rules: Rules | None = None,
    with_text: bool = True,
) -> Summary:
    """Measure what is new or changed, then decide all anew; decisions by hand stay. Killed anywhere, the same command goes on.

    A decision by hand is about a picture's bytes: it is found again under another name, and after the picture was away.

    folders: one or several, searched with their subfolders and the folders that links in them lead to; hidden files are left out, and
    below them what was made here (`MADE`). A manifest takes further folders later, and one that moved. workers: processes, None for one a
    core. resume False: measure everything again. OutputError if a folder cannot be read or no file in it is a picture; MissingExtraError
    if the extra is not installed. A file that cannot be read is an entry with its reason, never the end.
    """
    sources = _sources(folders)
    missing = check_tools()
    own = {Path(out_manifest).resolve(), Path(f"{out_manifest}.lock").resolve()}
    tasks = [Task(_unicode(name), str(path), with_text) for name, path in _files(sources) if path.resolve() not in own]
    if not tasks:
        raise OutputError(
            "the folder holds no file", where=", ".join(sources.values()), fix="Name the folder of your pictures"
        )
    fresh = not Path(out_manifest).exists()
    facts: dict[str, Any] = {"sources": sources, "tools": versions()}
    with Manifest.writing(out_manifest, new=facts) as manifest:
        _same_sources(manifest, sources)
        manifest.facts["tools"] = versions()
        known = manifest.entries if resume else {}
        names = {task.name for task in tasks}
        gone = len(manifest.entries.keys() - names)
        by_hand = manifest.facts.get("away", {}) | {
            entry.sha256: entry.decision for entry in manifest.entries.values() if entry.by == "hand" and entry.sha256
        }
        new = [task for task in tasks if not _unchanged(known.get(task.name), task)]
        if new:  # before names get other entries: a kill forgets neither a decision nor a further folder
            manifest.facts["away"] = by_hand
            manifest.save()
        workers = min(workers or machine.cores(), max(1, len(new)))
        measured = pool.each(measure, new, workers=workers, died=died, begin=one_thread)
        for done, entry in enumerate(measured, start=len(tasks) - len(new) + 1):
            manifest.put(entry)
            if progress:
                progress(done, len(tasks), entry.name)
        entries = [entry for name, entry in sorted(manifest.entries.items()) if name in names]
        entries, manifest.facts["away"] = _decided_by_hand(entries, by_hand)
        manifest.entries = decide_all(entries, groups(entries), rules or Rules())
        manifest.save()
        if all(entry.error for entry in entries):
            if fresh:  # it would bind the name to these folders
                manifest.path.unlink(missing_ok=True)
            what = f"none of the {len(entries)} files is a picture ({entries[0].name}: {entries[0].error})"
            raise OutputError(what, where=", ".join(sources.values()), fix="Name the folder of your pictures")
        unreadable = {entry.name: entry.error for entry in entries if entry.error}
        return Summary(
            manifest.counts(),
            manifest.reasons("drop"),
            manifest.reasons("uncertain"),
            unreadable,
            missing,
            len(new),
            gone,
        )


def _decided_by_hand(entries: list[Entry], by_hand: Mapping[str, Decision]) -> tuple[list[Entry], dict[str, Decision]]:
    """The entries with what was decided about their bytes, under whatever name they had then; and what is about bytes that are away.

    Of copies of the same bytes one has it: the first, where none has it yet.
    """
    has_it = {entry.sha256 for entry in entries if entry.by == "hand"}
    done = []
    for entry in entries:
        if entry.sha256 in by_hand and entry.sha256 not in has_it:
            has_it.add(entry.sha256)
            entry = replace(entry, by="hand", decision=by_hand[entry.sha256])
        done.append(entry)
    return done, {digest: decision for digest, decision in by_hand.items() if digest not in has_it}


def _sources(folders: Path | str | Sequence[Path | str]) -> dict[str, str]:
    """Name -> absolute folder."""
    paths = [Path(each) for each in ([folders] if isinstance(folders, (Path, str)) else folders)]
    sources: dict[str, str] = {}
    for path in paths:
        if not path.is_dir():
            what = "this is a file, not a folder" if path.exists() else "there is no such folder"
            raise OutputError(what, where=str(path), fix="Name the folder of your pictures")
        name = path.resolve().name or "pictures"
        if name in sources:
            raise ConfigError(
                f"two folders are called {name!r}", fix="Rename one: pictures are told apart by their folder's name"
            )
        sources[name] = str(path.resolve())
    if not sources:
        raise ConfigError("no folder was named")
    return sources


def _files(sources: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """(name, path) of every file, in order. A subfolder that cannot be read is an error: half a data set is worse than none."""

    def refuse(error: OSError) -> None:
        raise OutputError(
            f"cannot be read: {error.strerror}", where=str(error.filename), fix="May this user read it?"
        ) from error

    roots = [Path(folder).resolve() for folder in sources.values()]
    followed: list[Path] = []

    def wanted(path: Path) -> bool:
        if path.name.startswith(".") or (path / MADE).exists():
            return False
        target = path.resolve()
        if target != path.parent.resolve() / path.name:  # a link, or a junction of Windows
            # What lies in a source or under a link is found there, and no circle is walked.
            known = [*roots, *followed]
            if any(target.is_relative_to(other) or other.is_relative_to(target) for other in known):
                return False
            followed.append(target)
        return True

    for source, folder in sources.items():
        for place, subfolders, files in os.walk(folder, onerror=refuse, followlinks=True):
            subfolders[:] = sorted(each for each in subfolders if wanted(Path(place, each)))
            for file in sorted(files):
                if not file.startswith("."):
                    path = Path(place, file)
                    name = f"{source}/{path.relative_to(folder).as_posix()}"
                    yield name, path


def _unicode(name: str) -> str:
    """The name as the manifest holds it. Python holds bytes of a name that are not Unicode as lone surrogates, which no file takes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _unchanged(entry: Entry | None, task: Task) -> bool:
    if entry is None or not entry.sha256 or not complete(entry, task):
        return False
    try:
        facts = os.stat(task.path)
    except OSError:
        return False
    return (entry.bytes, entry.mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def _same_sources(manifest: Manifest, sources: dict[str, str]) -> None:
    """The manifest's folders from now on: those it had, wherever they are now, and new ones."""
    before = manifest.sources
    same = all(name in sources and (sources[name] == was or not Path(was).exists()) for name, was in before.items())
    if not same:
        was = ", ".join(before.values())
        raise ConfigError(
            f"the manifest is of other folders: {was}",
            where=str(manifest.path),
            fix="Name those, or others besides them; or another manifest",
        )
    manifest.facts["sources"] = sources
