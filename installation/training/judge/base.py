"""Judging a base generator: its pictures of the kit's seeds against the held-out ones, and its walk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import ModelError
from installation.files import fingerprint
from installation.latent.sphere import seed_z
from installation.models import checkpoint as checkpoints
from installation.models.header import read_header
from installation.models.network import Generator
from installation.render.latent import Latents
from installation.show.config import CascadeConfig, Show
from installation.show.state import first_state
from installation.training.judge.judgement import Judgement, Number, beside
from installation.training.judge.kit import FEW_HELD_OUT, Kit, KitFeatures
from installation.training.judge.measures import memorisation, numbers
from installation.training.picture import resize, to_bytes, to_uint8
from installation.training.progress import Shared
from installation.training.records import now, read_json

WALKS, WALK_STEPS = 6, 24


def judge_base(
    checkpoint: Path,
    kit: Kit,
    *,
    psi: float = 1.0,
    device: torch.device | str = "cpu",
    progress: Shared | None = None,
    write: bool = True,
) -> Judgement:
    """The judgement of a generator's checkpoint; written beside it as JSON (write). Float32 throughout, the kit's own seeds.

    1,000 pictures of 64 px take about a minute on one CPU core with trained features. ModelError where the checkpoint is no generator
    or makes numbers that are not finite; CheckpointError where it is damaged.
    """
    tell = progress or (lambda what, share: None)
    generator = load_generator(checkpoint, device)
    features = KitFeatures.of(kit, device)
    images = made(generator, kit, psi, tell)
    sample = features.look(images, lambda _, share: tell("looking at the pictures", share))
    found = numbers(sample, kit.reference, kit.scales)
    found["memorisation"] = memorisation(sample.main, kit.train, kit.reference.main, kit.fresh)
    tell("walking", None)
    found["walk_cv"] = walk_evenness(generator, features, kit, psi)
    header = read_header(checkpoint)
    judgement = Judgement(
        kit=kit.hash,
        kind="base",
        subject=header.name,
        sha256=fingerprint(checkpoint),
        nimg=header.nimg,
        settings={"psi": psi},
        numbers=found,
        made=now(),
        warnings=tuple(warnings_of(checkpoint, kit)),
        facts={"kit": kit.describe(), "parameters": header.parameters, "size": header.size},
    )
    if write:
        judgement.write(beside(checkpoint, kit.hash, psi))
    return judgement


def load_generator(checkpoint: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator in a checkpoint, on `device`, float32."""
    network = checkpoints.load(checkpoint)
    if not isinstance(network, Generator):
        raise ModelError("is no generator", where=str(checkpoint), fix="Judge it as a stage")
    return network.place(device)


@torch.inference_mode()
def made(generator: Generator, kit: Kit, psi: float, tell: Shared, *, batch: int = 16) -> np.ndarray:
    """The generator's pictures of the kit's seeds: uint8 [n, 3, size, size]."""
    device = next(generator.parameters()).device
    found = []
    for i in range(0, kit.n, batch):
        tell("making pictures", i / kit.n)
        seeds = range(kit.first_seed + i, kit.first_seed + min(i + batch, kit.n))
        z = np.stack([seed_z(seed, generator.z_dim) for seed in seeds]).astype(np.float32)
        found.append(fitted(generator(torch.from_numpy(z).to(device), psi), kit.size))
    return np.concatenate(found)


def fitted(img: Tensor, size: int) -> np.ndarray:
    """img [N, 3, H, W], -1..1 -> uint8 [N, 3, size, size]: rounded to bytes as the wall does, the middle square, Lanczos to `size`."""
    if not bool(img.isfinite().all()):
        raise ModelError("the network makes numbers that are not finite", fix="Judge an earlier checkpoint")
    images = to_bytes(img)
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    images = images[:, :, top : top + side, left : left + side]
    if side == size:
        return images
    return np.stack([to_uint8(resize(one.transpose(1, 2, 0), size, size)).transpose(2, 0, 1) for one in images])


def walk_latents(generator: Generator, seed: int, psi: float, positions: np.ndarray) -> list[Tensor]:
    """ws [1, num_ws, w_dim] along the program's own wander from `seed`, at positions in keyframes."""
    show = Show(cascade=CascadeConfig(base="judged"), params={"latent/psi": psi})
    latents = Latents(show, generator, next(generator.parameters()).device)
    state = first_state(show)
    strand = replace(state.strands[0], mode="wander", seed=seed)
    places = [replace(state, strands=(replace(strand, position=float(position)),)) for position in positions]
    return [latents.ws(place) for place in places]


@torch.inference_mode()
def walk_evenness(generator: Generator, features: KitFeatures, kit: Kit, psi: float) -> Number:
    """The walk's perceived speed: its standard deviation over its mean, the mean of six walks of one keyframe.

    Speed is the distance of one picture to the next, 1/24 of a keyframe on, in multi-layer trained features or in bands.
    """
    positions = np.linspace(0.0, 1.0, WALK_STEPS + 1)
    found = []
    for walk in range(WALKS):
        latents = walk_latents(generator, kit.first_seed + walk, psi, positions)
        images = np.concatenate([fitted(generator.synthesis(ws), kit.size) for ws in latents])
        rows = features.look(images).bands if features.trained is None else features.trained.perceptual(images)
        speed = np.linalg.norm(np.diff(rows.astype(np.float64), axis=0), axis=1)
        found.append(float(speed.std() / max(speed.mean(), 1e-9)))
    return Number(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(WALKS)))


def warnings_of(checkpoint: Path, kit: Kit) -> list[str]:
    """What a reader of the score should know: from the kit, and from the run's folder where the checkpoint lies in one."""
    found = []
    if (count := kit.facts["held_out"]["count"]) < FEW_HELD_OUT:
        found.append(f"only {count} pictures are held out: only large differences can be seen")
    if not kit.trained:
        found.append("judged without trained features: Q is made of LB-FD and SW2 on Laplacian bands")
    run = _run_of(checkpoint)
    if run is not None and run.get("dataset_sha256") != kit.facts["dataset_sha256"]:
        found.append("trained on another dataset than the kit's: it may have seen the held-out pictures")
    config = run.get("config", {}) if run is not None else {}
    kept_back = config.get("held_out") if isinstance(config, dict) else None
    split = kit.facts["held_out"]
    if isinstance(kept_back, (int, float)) and (kept_back < split["share"] or split["seed"]):
        found.append(
            f"trained on some of the held-out pictures: its held_out was {kept_back:g}, the kit's {split['share']:g}"
        )
    if kit.trained and isinstance(config, dict) and _uses_features(config):
        found.append("trained with the features it is judged by: KD and SW2 flatter it; trust LB-FD and people")
    return found


def _run_of(checkpoint: Path) -> dict[str, object] | None:
    for folder in list(checkpoint.resolve().parents)[:2]:
        if (folder / "run.json").is_file():
            return read_json(folder / "run.json")
    return None


def _uses_features(config: dict[str, object]) -> bool:
    """Whether trained features were in a loss: by its weight, unless the run says that it had none."""
    return config.get("perceptual_features") is not False and any(
        name.startswith(("perceptual", "projected")) and isinstance(value, (int, float)) and value > 0
        for name, value in config.items()
    )
