"""`train_stage`: an upscaling stage from a dataset of large crops, beginning anew or going on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from installation.errors import ConfigError
from installation.models import checkpoint, projection
from installation.models import device as devices
from installation.training.dataset import Dataset, open_dataset
from installation.training.features.efficientnet import Features
from installation.training.loop import Outcome, Pace, Progress, check_resume, train
from installation.training.memory import enough_memory
from installation.training.runs import EXPORT_NAME, STATE_NAME, Run
from installation.training.stage.configs import StageConfig, resolve
from installation.training.stage.sheets import Sheets
from installation.training.stage.source import Crops, Previous
from installation.training.stage.trainee import StageTrainee
from installation.training.team import launched

SHOWN_SIDE = 256  # large px of a picture on a sheet


def train_stage(
    dataset: Path,
    out: Path,
    *,
    config: str = "nano",
    scale: int = 4,
    minutes: float | None = None,
    kimg: float | None = None,
    resume: str = "auto",
    seed: int = 0,
    device: str = "auto",
    overrides: Mapping[str, str] | None = None,
    previous: Path | Sequence[Path] | None = None,
    features: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    pace: Pace | None = None,
) -> Outcome:
    """Train, or go on training, the stage in the run folder `out`; see `loop.train` for when it ends.

    dataset: pictures larger than the crop, as `make_crops` packs them. previous: the checkpoint before this stage in the cascade, or all
    of them, base first. features: the file of EfficientNet-Lite0's weights, for the perceptual loss; None does without.
    resume: `auto`, or `never` to refuse a folder in which a run has begun. overrides: changes to the config's fields.
    pace: when to save and show.
    ConfigError, OutputError, ModelError or CheckpointError before the first step; EngineError where memory ends, or as for a base.
    """
    chosen, out = resolve(config, overrides or {}), Path(os.path.abspath(out))
    if launched():
        raise ConfigError("a stage is trained by one process", where="torchrun", fix="Start it without torchrun")
    if scale not in projection.SCALES:
        raise ConfigError(f"a stage enlarges by {' or '.join(map(str, projection.SCALES))}, not {scale}", where="scale")
    check_resume(resume, out / STATE_NAME)
    place = devices.choose(device).device
    data = open_dataset(dataset)
    learnt, shown = _crops(data, chosen, scale, place)
    paths = [previous] if isinstance(previous, Path) else list(previous or [])
    before = _previous(paths, chosen, scale, place)
    looks = Features(place, features) if features is not None else None
    settings = {"name": config, "scale": scale, "seed": seed, "perceptual_features": looks is not None}
    begun = Run.begin(
        out.parent,
        "stage",
        out.name,
        settings | _settings(chosen),
        dataset_sha256=data.sha256,
        manifest_sha256=data.manifest_sha256,
        parents={f"previous{i or ''}": digest for i, digest in enumerate(before.fingerprints if before else [])},
        device=devices.name(place),
    )
    with enough_memory(out), begun as run:
        trainee = StageTrainee(chosen, scale, seed, learnt, previous=before, features=looks)
        sheets = Sheets(run, shown, before, trainee.degradation, scale, trainee.stage.input_multiple)

        def show(trainee: StageTrainee) -> Mapping[str, float]:
            stage = trainee.shown()
            _export(run.folder / EXPORT_NAME, trainee, data, paths)
            return sheets.draw(stage, trainee.nimg)

        trainee.on_show = show
        pace = pace or Pace(show_kimg=chosen.show_kimg)
        return train(
            trainee,
            run.folder / STATE_NAME,
            pace=pace,
            minutes=minutes,
            kimg=kimg,
            product=run.folder / EXPORT_NAME,
            log=run.log,
            progress=progress,
        )


def _settings(config: StageConfig) -> dict[str, Any]:
    """The config as a run's record tells it. What is not used is not named: a run that did without calm goes on."""
    settings = asdict(config)
    if not config.calm:
        del settings["calm"]
    return settings


def _crops(data: Dataset, config: StageConfig, scale: int, device: torch.device) -> tuple[Crops, Crops]:
    """What is learnt from, and what is shown. ConfigError where the dataset's pictures are too small."""
    if data.size < config.crop + scale:
        most = (data.size - scale) // config.crop_multiple * config.crop_multiple
        raise ConfigError(
            f"its pictures are {data.size} px; crops of {config.crop} px, and {scale} more to shift them, are needed",
            where=str(data.path),
            fix=f"Set crop to at most {most}, or pack larger pictures: they are never enlarged",
        )
    learn, held = data.split(config.held_out)
    if len(held) == 0:  # so few sources that none fell on that side
        held = learn
    side = min(data.size, SHOWN_SIDE)
    return Crops(data, learn, config.crop + scale, device), Crops(data, held, side, device)


def _previous(paths: Sequence[Path], config: StageConfig, scale: int, device: torch.device) -> Previous | None:
    """The cascade before the stage, or None without one. ConfigError where its pictures are too small, or its w is not what the config
    says."""
    before = Previous(paths, device) if paths else None
    if before is not None and min(before.size) < config.crop // scale:
        raise ConfigError(
            f"the previous stage makes {before.size[0]}×{before.size[1]} px, crops of {config.crop // scale} px are needed",
            where=str(paths[-1]),
            fix=f"Set crop to at most {min(before.size) * scale}",
        )
    _check_w(config, before)
    return before


def _check_w(config: StageConfig, previous: Previous | None) -> None:
    """ConfigError where w_dim is not that of the samples' w, or no sample would teach what w means."""
    if not config.w_dim:
        return
    if previous is None or not round(config.batch * config.previous_share):
        raise ConfigError(
            "a stage that is conditioned on w learns it from the previous stage's samples, and gets none",
            where="w_dim",
            fix="Name the cascade before it with --previous and raise previous_share, or leave w_dim at 0",
        )
    if config.w_dim != (given := previous.cascade.generator.stage_w_dim):
        raise ConfigError(
            f"the stage is conditioned on a w of {config.w_dim}, and the previous cascade gives one of {given}",
            where="w_dim",
            fix=f"Set w_dim to {given}, or leave it at 0",
        )


def _export(path: Path, trainee: StageTrainee, data: Dataset, previous: Sequence[Path]) -> None:
    """The average as a checkpoint, in half precision, with what its pictures' licences ask for."""
    stage = trainee.average
    header = checkpoint.describe(
        stage,
        name=path.parent.name,
        licence=trainee.licence,
        source="trained by installation train stage",
        training_data=f"{data.path.name}, {len(data)} pictures of {data.size} px, sha256 {data.sha256}",
        nimg=trainee.nimg,
        notes=f"after {', '.join(one.stem for one in previous)}" if previous else "",
    )
    checkpoint.save(path, {name: tensor.half() for name, tensor in stage.state_dict().items()}, header)
