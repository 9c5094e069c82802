"""The evaluation kit: everything that a score hangs on besides the checkpoint, frozen once and known by its hash.

A kit is a folder: kit.json says what was decided, reference.safetensors holds the features of the real pictures. Two scores compare
only when they come from kits of one hash. Pictures that no run was trained on (the dataset's held-out ones) are the reference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from installation.errors import ConfigError, ModelError, OutputError
from installation.training.dataset import Dataset
from installation.training.features import efficientnet, laplacian
from installation.training.features.efficientnet import Features
from installation.training.features.laplacian import LaplacianFeatures
from installation.training.judge import planted
from installation.training.judge.distances import Whitening, nearest
from installation.training.judge.measures import Measures, Sample, Scale, floor_and_bad
from installation.training.progress import Shared
from installation.training.records import read_json, write_bytes, write_json

FORMAT = 1
# Raised with any change to how something is measured.
EVAL_VERSION = 1
KIT_FILE, REFERENCE_FILE = "kit.json", "reference.safetensors"
FIRST_SEED = 1_000_000
LEAST_HELD_OUT, LEAST_TRAIN = 8, 16
FEW_HELD_OUT = 100
# 10,000 training pictures are enough to find copies, and their features are 26 MB.
MOST_TRAIN, MOST_PICTURES, MOST_SIDE = 10_000, 128, 256
_BASIS = 2000
_AGAIN = "Make the kit again"


@dataclass(frozen=True, slots=True)
class Kit:
    """An opened kit. hash: sha256 of what was decided and of the reference. size: side of the pictures, px. n: pictures made and judged.

    scales: floor and bad of each distance. reference: the held-out pictures' features. train: features of training pictures for
    `memorisation`. fresh: what the ratio of the memorisation measure is for real pictures. pictures: uint8 [K, 3, P, P] of the held-out.
    """

    path: Path
    hash: str
    facts: Mapping[str, Any]
    size: int
    n: int
    first_seed: int
    scales: Mapping[str, Scale]
    reference: Sample
    train: np.ndarray
    fresh: float
    pictures: np.ndarray
    whitening: Whitening

    @property
    def trained(self) -> bool:
        """Whether trained features are part of it."""
        return self.facts["features"]["efficientnet"] is not None

    def describe(self) -> str:
        """One line for people."""
        terms = (
            "EfficientNet-Lite0 and Laplacian bands" if self.trained else "Laplacian bands alone (no trained features)"
        )
        held = self.facts["held_out"]["count"]
        return f"kit {self.hash[:8]}: {self.n} pictures of {self.size} px against {held} held out; {terms}"


@dataclass(frozen=True, slots=True)
class KitFeatures:
    """The feature networks of a kit on one device. trained: None in a kit without."""

    bands: LaplacianFeatures
    trained: Features | None
    whitening: Whitening

    @classmethod
    def of(cls, kit: Kit, device: torch.device | str = "cpu") -> KitFeatures:
        """ModelError where the kit's trained features are not installed, or where the program's random ones are others by now."""
        bands = LaplacianFeatures(kit.size, device)
        if bands.fingerprint != kit.facts["features"]["laplacian"]:
            raise ModelError("was made with other random features", where=str(kit.path), fix=_AGAIN)
        return cls(bands, Features(device) if kit.trained else None, kit.whitening)

    def look(self, images: np.ndarray, progress: Shared | None = None) -> Sample:
        """images uint8 [N, 3, size, size] -> their features."""
        bands, trained = [], []
        for i in range(0, len(images), 64):
            if progress is not None:
                progress("looking", i / len(images))
            part = np.ascontiguousarray(images[i : i + 64])
            bands.append(self.whitening(self.bands.embed(part)))
            if self.trained is not None:
                trained.append(self.trained.embed(part))
        return Sample(np.concatenate(bands), np.concatenate(trained) if trained else None)


def make_kit(
    dataset: Dataset,
    out: Path,
    *,
    n: int = 1000,
    held_out: float = 0.08,
    split_seed: int = 0,
    trained: bool | None = None,
    device: torch.device | str = "cpu",
    progress: Shared | None = None,
) -> Kit:
    """Freezes a kit into the folder `out`. The same dataset and arguments give the same hash on one machine.

    n: pictures each judgement makes; fewer where the training pictures are fewer. held_out, split_seed: as the trainers split. trained:
    with EfficientNet-Lite0 (True), without (False), or with it where it is installed (None). ModelError where it is wanted and missing,
    or where the pictures are too few or too small; OutputError where the disk refuses.
    """
    tell = progress or (lambda what, share: None)
    train, held = dataset.split(held_out, split_seed)
    _check(dataset, train, held)
    n = min(n, len(train))
    _check_place(out, {"eval_version": EVAL_VERSION, "dataset_sha256": dataset.sha256, "size": dataset.size, "n": n})
    rng = np.random.RandomState(5)
    train, held = np.sort(rng.permutation(train)[:MOST_TRAIN]), held[: max(n, LEAST_HELD_OUT)]
    network = Features(device) if (efficientnet.installed() if trained is None else trained) else None
    bands = LaplacianFeatures(dataset.size, device)

    tell("features of the training pictures", 0.0)
    features = KitFeatures(bands, network, Whitening.of(bands.embed(dataset.images[train[:_BASIS]])))
    known = features.look(dataset.images[train], lambda _, share: tell("features of the training pictures", share))
    reference = features.look(dataset.images[held], lambda _, share: tell("features of the held-out pictures", share))
    tell("the planted bad set", None)
    bad = features.look(planted.worst(dataset.images[train], known.main, n))
    scales = floor_and_bad(Measures(known, reference), Measures(bad, reference), n)
    data = _reference_file(reference, known, features.whitening, dataset.images[held[:MOST_PICTURES]])
    facts = {
        "format": FORMAT,
        "eval_version": EVAL_VERSION,
        "dataset_sha256": dataset.sha256,
        "size": dataset.size,
        "n": n,
        "first_seed": FIRST_SEED,
        "held_out": {"share": held_out, "seed": split_seed, "count": len(held), "sha256": _sha256(held.astype("<i8"))},
        "train_count": len(train),
        "features": {
            "efficientnet": efficientnet.WEIGHTS_SHA256 if network is not None else None,
            "efficientnet_resize": efficientnet.RESIZE_VERSION,
            "laplacian": bands.fingerprint,
        },
        "scales": {name: {"floor": scale.floor, "bad": scale.bad} for name, scale in scales.items()},
        "fresh": _freshness(reference.main, known.main),
        "reference_sha256": hashlib.sha256(data).hexdigest(),
    }
    _check_place(out, facts)
    # In this order: a kill in between leaves a kit that says it is damaged, never one that is.
    write_bytes(out / REFERENCE_FILE, data)
    write_json(out / KIT_FILE, facts)
    tell("the kit is ready", 1.0)
    return open_kit(out)


def _reference_file(reference: Sample, known: Sample, whitening: Whitening, pictures: np.ndarray) -> bytes:
    """The bytes of reference.safetensors. known: features of the training pictures. pictures: uint8 [K, 3, S, S], held out."""
    crop = min(pictures.shape[3], MOST_SIDE)
    edge = (pictures.shape[3] - crop) // 2
    arrays = {
        "reference_bands": reference.bands,
        "train": known.main.astype(np.float16),
        "mean": whitening.mean,
        "scale": whitening.scale,
        "basis": whitening.basis,
        "pictures": pictures[:, :, edge : edge + crop, edge : edge + crop],
    }
    if reference.trained is not None:
        arrays["reference_trained"] = reference.trained
    # safetensors writes the memory as it lies, whatever the strides say.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _check_place(folder: Path, facts: Mapping[str, Any]) -> None:
    """ConfigError where a kit lies in the folder of which one of these facts is another. A damaged one is made anew."""
    try:
        there = read_json(folder / KIT_FILE)
        if {key: there.get(key) for key in facts} != json.loads(json.dumps(facts)):
            what = "another kit is here: what was judged by it could never be compared again"
            raise ConfigError(what, where=str(folder), fix="Name another folder, or delete this one")
    except OutputError:
        return


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def open_kit(path: Path) -> Kit:
    """The kit in a folder. OutputError where it is missing, damaged, or made by another version of the measures."""
    path = Path(path)
    if not (path / KIT_FILE).exists():
        raise OutputError("there is no kit", where=str(path), fix="Make one with `installation judge kit`")
    facts = read_json(path / KIT_FILE)
    if facts.get("format") != FORMAT or facts.get("eval_version") != EVAL_VERSION:
        said = f"format {facts.get('format')}, measures {facts.get('eval_version')}"
        raise OutputError(
            f"the kit has {said}; this program has {FORMAT} and {EVAL_VERSION}", where=str(path), fix=_AGAIN
        )
    try:
        data = (path / REFERENCE_FILE).read_bytes()
        if hashlib.sha256(data).hexdigest() != facts["reference_sha256"]:
            raise OutputError("the kit's reference is not the one it was made with", where=str(path), fix=_AGAIN)
        arrays = load_file(path / REFERENCE_FILE)
        return Kit(
            path=path,
            hash=_hash(facts),
            facts=facts,
            size=int(facts["size"]),
            n=int(facts["n"]),
            first_seed=int(facts["first_seed"]),
            scales={name: Scale(float(row["floor"]), float(row["bad"])) for name, row in facts["scales"].items()},
            reference=Sample(arrays["reference_bands"], arrays.get("reference_trained")),
            train=arrays["train"].astype(np.float32),
            fresh=float(facts["fresh"]),
            pictures=arrays["pictures"],
            whitening=Whitening(arrays["mean"], arrays["scale"], arrays["basis"]),
        )
    except OSError as error:
        raise OutputError(f"cannot be read ({error.strerror or error})", where=str(path), fix=_AGAIN) from error
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise OutputError(f"the kit is damaged ({error!r})", where=str(path), fix=_AGAIN) from error


def _check(dataset: Dataset, train: np.ndarray, held: np.ndarray) -> None:
    where = str(dataset.path)
    if dataset.size < laplacian.SMALLEST:
        raise ModelError(f"pictures of {dataset.size} px are too small to judge", where=where, fix="Pack them larger")
    if len(held) < LEAST_HELD_OUT or len(train) < LEAST_TRAIN:
        what = f"too few pictures for a kit: {len(train)} to train on and {len(held)} held out"
        fix = f"At least {LEAST_TRAIN} and {LEAST_HELD_OUT} are needed; good errors need {FEW_HELD_OUT} held out"
        raise ModelError(what, where=where, fix=fix)


def _freshness(held: np.ndarray, train: np.ndarray) -> float:
    """Distance to training pictures over distance to held-out ones, medians, for real pictures nobody trained on."""
    return float(np.median(nearest(held, train)) / max(float(np.median(nearest(held, held, itself=True))), 1e-9))


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()
