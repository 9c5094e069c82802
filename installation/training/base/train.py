"""`train base`: one call that begins a run or goes on with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from installation.errors import CheckpointError, ConfigError
from installation.files import fingerprint
from installation.models import device as devices
from installation.training.base.config import BaseConfig, resolve
from installation.training.base.export import inherited_from, licence_line, warm_start
from installation.training.base.gallery import Gallery
from installation.training.base.plan import Plan
from installation.training.base.probe import measure, probe
from installation.training.base.trainee import BaseTrainee
from installation.training.dataset import Dataset, open_dataset
from installation.training.feed import Feed
from installation.training.loop import Outcome, Pace, Progress, check_resume, train
from installation.training.memory import enough_memory
from installation.training.runs import EXPORT_NAME, STATE_NAME, Run
from installation.training.state import State, load_state, previous
from installation.training.team import Team, assemble

# Fewer held-out pictures say nothing about overfitting.
_LEAST_HELD_OUT = 32


def _nothing(progress: Progress) -> None:
    """What is told to nobody."""


def train_base(
    dataset: Path,
    out: Path,
    *,
    config: str = "tiny",
    minutes: float | None = None,
    kimg: float | None = None,
    resume: str = "auto",
    seed: int = 0,
    device: str = "auto",
    overrides: Mapping[str, str] | None = None,
    warm_start_from: Path | None = None,
    progress: Callable[[Progress], None] = _nothing,
    pace: Pace | None = None,
) -> Outcome:
    """Train a base generator on a packed dataset, in the folder `out`. Given again, the same call goes on where the last one was killed.

    minutes: from now, the probe's with them. kimg: thousands of images in all. resume: `auto`, or `never` to refuse a folder that holds
    a run. device: auto, cpu, cuda, cuda:N, mps. overrides: changes to the config's fields. warm_start_from: a checkpoint of the same
    shape, or another run's folder; looked at when the run begins and never again. progress: in the leading process alone. pace: when to
    save and show.

    ConfigError: an unknown config or field, a dataset of another size, too few pictures, a folder that holds another run.
    CheckpointError: a damaged state or warm start. OutputError: the dataset, or a disk that refuses. EngineError: no such device, too
    little memory, or training that breaks down again and again.
    """
    began = time.monotonic()
    chosen, out = resolve(config, overrides or {}), Path(os.path.abspath(out))
    state_path = out / STATE_NAME
    check_resume(resume, state_path)
    data = open_dataset(dataset)
    train_rows, held_out_rows = _split(data, chosen)
    place = devices.choose(device).device
    state = load_state(state_path)
    if chosen.keep and warm_start_from is None and state is None:
        raise ConfigError("there is no network to keep", where="keep", fix="Name it with --warm-start")
    with ExitStack() as stack:
        stack.enter_context(enough_memory(out))
        team = stack.enter_context(assemble(place))
        place = _own_device(place, team)
        if chosen.batch % team.size:
            raise ConfigError(f"a batch of {chosen.batch} cannot be shared by {team.size} processes", where="batch")
        run = gallery = None
        if team.leads:
            settings = {"config": config, **_settings(chosen), "seed": seed}
            begun = _begin_run(out, settings, data, place, warm_start_from, goes_on=state is not None)
            run = stack.enter_context(begun)
            gallery = Gallery(run, data, name=out.name, notes=_notes(config, chosen, seed), seed=seed)

        def feed(rows: np.ndarray) -> Feed:
            return Feed(data.images, rows, place, seed=seed, flip=chosen.flip)

        if not team.leads:
            progress = _nothing
        trainee = BaseTrainee(
            chosen,
            choose_plan(chosen, place, state, team, progress, minutes=minutes),
            feed(train_rows),
            feed(held_out_rows) if len(held_out_rows) >= _LEAST_HELD_OUT else None,
            seed=seed,
            device=place,
            team=team,
            on_show=gallery or (lambda trainee: {}),
            licence="" if run is None else licence_line(data.manifest, run.inherited_licence),
        )
        if state is None and warm_start_from is not None:
            warm_start(trainee, warm_start_from)
        if minutes is not None:
            spent_s = time.monotonic() - began
            minutes = max(minutes - spent_s / 60, 0.0)
            if run is not None:  # who adds up a run's time by its lines misses what was no step
                run.log(0 if state is None else int(state.facts["nimg"]), set_up_s=spent_s)
        del state
        return train(
            trainee,
            state_path,
            pace=pace or Pace(show_kimg=chosen.show_kimg),
            minutes=minutes,
            kimg=kimg,
            product=out / EXPORT_NAME,
            team=team,
            log=run.log if run is not None else lambda nimg, **numbers: None,
            progress=progress,
        )


def _begin_run(
    out: Path,
    settings: Mapping[str, Any],
    data: Dataset,
    place: torch.device,
    warm_start: Path | None,
    *,
    goes_on: bool,
) -> Run:
    """goes_on: there is a state; what the run began with may have been trained on since, or be gone, and is not looked at again."""
    parents = None if goes_on else {} if warm_start is None else {"warm_start": _fingerprint(warm_start)}
    # A state may have come to this folder alone, without its run's record: it tells what it owes.
    begun_with = out / STATE_NAME if goes_on else warm_start
    return Run.begin(
        out.parent,
        "base",
        out.name,
        settings,
        dataset_sha256=data.sha256,
        manifest_sha256=data.manifest_sha256,
        inherited_licence="" if begun_with is None else inherited_from(begun_with),
        parents=parents,
        device=devices.name(place),
    )


def _notes(name: str, config: BaseConfig, seed: int) -> str:
    """What the header of a checkpoint says of how it was made."""
    text = f"config {name}, loss {config.loss}, gamma {config.penalty_weight:g}, batch {config.batch}, seed {seed}"
    if config.projected:
        text += f", projected critic {config.projected:g} on EfficientNet-Lite0"
    if config.eyes:
        text += f", critic of the eyes {config.eyes:g}"
        text += f", the rest kept {config.keep:g}" if config.keep else ""
    return text


def _settings(config: BaseConfig) -> dict[str, Any]:
    """The config as a run's record tells it. What is not used is not named: a run that did without an option goes on when it is new."""
    settings = asdict(config)
    if not config.projected:
        del settings["projected"], settings["lr_projected"]
    for name in ("grid", "eyes", "keep"):
        if not settings[name]:
            del settings[name]
    return settings


def _split(data: Dataset, config: BaseConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and held-out ones. ConfigError where the pictures have another size or are fewer than a batch."""
    if data.size != config.size:
        fix = f"Pack it with size {config.size}, or choose a config of {data.size} px"
        raise ConfigError(
            f"the dataset's pictures are {data.size} px, the config's {config.size} px", where=str(data.path), fix=fix
        )
    train_rows, held_out_rows = data.split(config.held_out)
    if len(train_rows) < config.batch:
        fix = "Pack more pictures, or set a smaller batch: a few hundred pictures are the least that makes sense"
        raise ConfigError(
            f"{len(train_rows)} pictures to train on are fewer than one batch of {config.batch}",
            where=str(data.path),
            fix=fix,
        )
    return train_rows, held_out_rows


def _own_device(place: torch.device, team: Team) -> torch.device:
    """Each process of a team has a GPU of its own, in the order of ranks."""
    if place.type != "cuda":
        return place
    if team.size > 1:
        place = torch.device("cuda", team.rank % torch.cuda.device_count())
    torch.cuda.set_device(place)
    return place


def choose_plan(
    config: BaseConfig,
    device: torch.device,
    state: State | None,
    team: Team,
    progress: Callable[[Progress], None],
    *,
    minutes: float | None = None,
) -> Plan:
    """The run's plan on this device with as many processes; else, on CUDA, the fastest by measurement; else the whole batch at once.

    progress: is told what was measured, and what of the run's plan cannot be kept. minutes: of which measuring takes a tenth at most,
    but for what torch.compile takes.
    """
    config = replace(config, batch=config.batch // team.size)
    machine = (devices.name(device), team.size)

    def tell(event: str) -> None:
        progress(Progress(0 if state is None else int(state.facts["nimg"]), 0.0, event=event))

    if state is not None and (state.facts.get("device"), state.facts.get("processes")) == machine:
        plan = Plan(**state.facts["plan"])
        # The like machine may have no C compiler, and a compilation that was killed leaves files that cannot be loaded.
        if plan.compiled and (note := measure(config, plan, device, 0.0).note):
            tell(f"torch.compile, which this run had, does not work here; it goes on without ({note})")
            return replace(plan, compiled=False)
        return plan
    if device.type != "cuda":
        return Plan(config.batch)
    tell("trying how steps are computed fastest here: about a minute, longer where torch.compile takes longer")
    seconds = 60.0 if minutes is None else min(60.0, 6 * minutes)
    found = probe(config, device, batch=config.batch, alone=team.size == 1, seconds=seconds)
    tell(f"after {found.seconds:.0f} s the line with the star is chosen\n{found.table()}")
    best = found.best
    number = team.agree(best.micro << 3 | best.channels_last << 2 | best.compiled << 1 | best.recorded)
    return Plan(number >> 3, bool(number & 4), bool(number & 2), bool(number & 1))


def _fingerprint(path: Path) -> str:
    file = path
    if path.is_dir():  # the generation before stands in, as for the run itself
        newest = path / STATE_NAME
        file = newest if newest.exists() or not previous(newest).exists() else previous(newest)
    try:
        return fingerprint(file)
    except OSError as error:
        fix = "Name a checkpoint, or the folder of a run that has one"
        raise CheckpointError(f"there is nothing to begin with ({error.strerror})", where=str(file), fix=fix) from error
