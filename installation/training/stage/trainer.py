"""`train_stage`: an upscaling stage from a dataset of large crops, beginning anew or going on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from installation.errors import ConfigError
from installation.models import checkpoint, projection
from installation.models import device as devices
from installation.training.dataset import Dataset, open_dataset
from installation.training.features.efficientnet import Features
from installation.training.loop import Outcome, Pace, Progress, train
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
    set: Mapping[str, str] | None = None,
    previous: Path | Sequence[Path] | None = None,
    features: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    pace: Pace | None = None,
) -> Outcome:
    """Train, or go on training, the stage in the run folder `out`; see `loop.train` for when it ends.

    dataset: pictures larger than the crop, as `make_crops` packs them. previous: the checkpoint before this stage in the cascade, or all
    of them, base first. features: the file of EfficientNet-Lite0's weights, for the perceptual loss; None does without.
    resume: `auto`, or `never` to refuse a folder in which a run has begun. pace: when to save and show.
    ConfigError, OutputError, ModelError or CheckpointError before the first step; EngineError where memory ends, or as for a base.
    """
    recipe, out = resolve(config, set or {}), Path(os.path.abspath(out))
    if launched():
        raise ConfigError("a stage is trained by one process", where="torchrun", fix="Start it without torchrun")
    if scale not in projection.SCALES:
        raise ConfigError(f"a stage enlarges by {' or '.join(map(str, projection.SCALES))}, not {scale}", where="scale")
    if resume not in ("auto", "never"):
        raise ConfigError(f"resume must be auto or never, not {resume!r}", where="resume")
    place = devices.choose(device).device
    data = open_dataset(dataset)
    if resume == "never" and (out / STATE_NAME).exists():
        raise ConfigError("the folder already holds a run", where=str(out), fix="Choose another folder, or resume auto")
    learn, held = data.split(recipe.held_out)
    if len(held) == 0:  # so few sources that none fell on that side
        held = learn
    if data.size < recipe.crop + scale:
        most = (data.size - scale) // recipe.crop_multiple * recipe.crop_multiple
        raise ConfigError(
            f"its pictures are {data.size} px; crops of {recipe.crop} px, and {scale} more to shift them, are needed",
            where=str(data.path),
            fix=f"Set crop to at most {most}, or pack larger pictures: they are never enlarged",
        )
    crops = Crops(data, learn, recipe.crop + scale, place)
    paths = [previous] if isinstance(previous, Path) else list(previous or [])
    before = Previous(paths, place) if paths else None
    if before is not None and min(before.size) < recipe.crop // scale:
        raise ConfigError(
            f"the previous stage makes {before.size[0]}×{before.size[1]} px, crops of {recipe.crop // scale} px are needed",
            where=str(paths[-1]),
            fix=f"Set crop to at most {min(before.size) * scale}",
        )
    _check_w(recipe, before)
    ruler = Features(place, features) if features is not None else None
    parents = {f"previous{i or ''}": digest for i, digest in enumerate(before.fingerprints if before else [])}
    facts = {"name": config, "scale": scale, "seed": seed, "perceptual_features": ruler is not None, **asdict(recipe)}
    if not recipe.calm:
        del facts["calm"]  # runs of before have none, and go on with calm=0
    begun = Run.begin(
        out.parent,
        "stage",
        out.name,
        facts,
        dataset_sha256=data.sha256,
        manifest_sha256=data.manifest_sha256,
        parents=parents,
        device=devices.name(place),
    )
    with enough_memory(out), begun as run:
        trainee = StageTrainee(recipe, scale, seed, crops, previous=before, features=ruler)
        sheets = Sheets(
            run,
            Crops(data, held, min(data.size, SHOWN_SIDE), place),
            before,
            trainee.degradation,
            scale,
            trainee.stage.input_multiple,
        )

        def show(trainee: StageTrainee) -> Mapping[str, float]:
            shown = trainee.shown()
            _export(run.folder / EXPORT_NAME, trainee, data, paths)
            return sheets.draw(shown, trainee.nimg)

        trainee.on_show = show
        pace = pace or Pace(show_kimg=recipe.show_kimg)
        return train(
            trainee, run.folder / STATE_NAME, pace=pace, minutes=minutes, kimg=kimg, log=run.log, progress=progress
        )


def _check_w(recipe: StageConfig, previous: Previous | None) -> None:
    """ConfigError where w_dim is not that of the samples' w, or no sample would teach what w means."""
    if not recipe.w_dim:
        return
    if previous is None or not round(recipe.batch * recipe.previous_share):
        raise ConfigError(
            "a stage that is conditioned on w learns it from the previous stage's samples, and gets none",
            where="w_dim",
            fix="Name the cascade before it with --previous and raise previous_share, or leave w_dim at 0",
        )
    if recipe.w_dim != (given := previous.cascade.generator.stage_w_dim):
        raise ConfigError(
            f"the stage is conditioned on a w of {recipe.w_dim}, and the previous cascade gives one of {given}",
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
