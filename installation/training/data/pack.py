"""`installation data pack`: the aligned crops as one dataset file, with what is known of every picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from installation.errors import ConfigError, OutputError
from installation.training.data.extra import versions
from installation.training.data.manifest import Decision, Manifest
from installation.training.dataset import FACE_MARK, Dataset, source_of, write_dataset
from installation.training.picture import decode_picture, resize, to_uint8
from installation.training.progress import Counted
from installation.training.records import write_bytes


def pack(
    manifest_path: Path | str,
    out: Path | str,
    *,
    size: int,
    licences: Mapping[str, str] | None = None,
    uncertain: bool = False,
    progress: Counted | None = None,
) -> Dataset:
    """Write `out` (.safetensors) from the crops of kept pictures (of the uncertain ones too if `uncertain`), at size × size px; larger
    crops are reduced, none is enlarged.

    licences: of the sources, by folder name; they go into the manifest and so into a model card. Beside the dataset lies a copy of the
    whole manifest, `NAME.manifest.jsonl`: every picture, every score, every reason. ConfigError on an unknown folder, or where `out` is no
    .safetensors or the copy would take another manifest's place; OutputError if there is no crop of that size, if one was changed since
    `align`, or if the disk is full.
    """
    out = Path(out)
    if out.suffix != ".safetensors":  # whatever else a name says, the manifest among it, is somebody's file
        raise ConfigError("a dataset's name ends with .safetensors", where=str(out), fix="Name another file")
    manifest = Manifest.read(manifest_path)
    chosen = _choose(manifest, size, ("keep", "uncertain") if uncertain else ("keep",))
    if unknown := sorted(set(licences or {}) - set(manifest.sources)):
        raise ConfigError(
            f"there is no folder {', '.join(map(repr, unknown))}",
            where="--licence",
            fix=f"The pictures' folders are {', '.join(manifest.sources)}",
        )
    if not chosen:
        what = f"no kept picture has a crop of {size} px or more"
        raise OutputError(what, where=str(manifest.path), fix=f"Run `installation data align` with --size {size}")
    whole = manifest.path.read_bytes()
    beside = out.with_name(out.name.removesuffix(".safetensors") + ".manifest.jsonl")
    if beside.exists() and not _same_pictures(beside, manifest):
        what = "another manifest has the name of this one's copy"
        raise ConfigError(what, where=str(beside), fix="Give the dataset another name")
    facts = _facts(manifest, chosen, size, licences or {}) | {
        "manifest_file": beside.name,
        "manifest_sha256": hashlib.sha256(whole).hexdigest(),
    }

    def images() -> Iterator[np.ndarray]:
        yield from _images(chosen, size, progress)
        # Before the dataset has its name, by which all is taken to be done; after the last crop, since one that was changed ends it.
        if beside.resolve() != manifest.path.resolve():
            write_bytes(beside, whole)

    return write_dataset(out, images(), names=[name for name, _, _ in chosen], manifest=facts, size=size)


def _same_pictures(path: Path, manifest: Manifest) -> bool:
    """Whether the manifest in a file is one of these folders: this one, or an earlier copy of it."""
    try:
        return Manifest.read(path).sources.keys() == manifest.sources.keys()
    except OutputError:
        return False


def _choose(manifest: Manifest, size: int, decisions: tuple[Decision, ...]) -> list[tuple[str, dict[str, Any], str]]:
    """(name in the dataset, crop, sha256 of the source), in the order of names: of each face the smallest crop that is large enough."""
    chosen = []
    for name, entry in sorted(manifest.entries.items()):
        best: dict[int, dict[str, Any]] = {}
        for crop in entry.crops:
            held = best.get(crop["face"])
            if entry.decision in decisions and crop["size"] >= size and (held is None or crop["size"] < held["size"]):
                best[crop["face"]] = crop
        for face, crop in sorted(best.items()):
            chosen.append((name + (f"{FACE_MARK}{face + 1}" if face else ""), crop, entry.sha256))
    return chosen


def _images(chosen: list[tuple[str, dict[str, Any], str]], size: int, progress: Counted | None) -> Iterator[np.ndarray]:
    """uint8 [3,size,size] each."""
    for i, (name, crop, _) in enumerate(chosen):
        path = Path(crop["file"])
        fix = "Run `installation data align` again"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise OutputError(f"a crop cannot be read: {error.strerror or error}", where=str(path), fix=fix) from error
        if hashlib.sha256(data).hexdigest() != crop["sha256"]:
            raise OutputError("a crop is not as `align` wrote it", where=str(path), fix=fix)
        pixels = decode_picture(data, where=str(path)).pixels
        if pixels.shape[0] != size:
            pixels = to_uint8(resize(pixels, size, size))
        yield pixels.transpose(2, 0, 1)
        if progress:
            progress(i + 1, len(chosen), name)


def _facts(
    manifest: Manifest, chosen: list[tuple[str, dict[str, Any], str]], size: int, licences: Mapping[str, str]
) -> dict[str, Any]:
    """The dataset's own manifest: small, and enough for a model card."""
    sources = []
    for source in manifest.sources:
        names = [entry for name, entry in manifest.entries.items() if name.startswith(source + "/")]
        sources.append(
            {
                "name": source,
                "licence": licences.get(source, ""),
                "pictures": len(names),
                "kept": len({source_of(name) for name, _, _ in chosen if name.startswith(source + "/")}),
            }
        )
    return {
        "size": size,
        "alignment": "ffhq",
        "colour": "sRGB",
        "sources": sources,
        "counts": {**manifest.counts(), "packed": len(chosen)},
        "dropped": manifest.reasons("drop"),
        "by_hand": sum(entry.by == "hand" for entry in manifest.entries.values()),
        "source_sha256": [digest for _, _, digest in chosen],
        "tools": {**manifest.facts.get("tools", {}), **versions()},
    }
