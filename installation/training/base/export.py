"""The shown average as a checkpoint of our format, and a warm start from one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError
from installation.models import checkpoint
from installation.models.header import read_header
from installation.models.stylegan2 import StyleGAN2
from installation.training.base.anchor import Anchor
from installation.training.base.config import BaseConfig
from installation.training.base.generator import Generator, exported, exported_config
from installation.training.base.trainee import BaseTrainee
from installation.training.dataset import Dataset
from installation.training.runs import EXPORT_NAME, STATE_NAME
from installation.training.state import State, load_state, misfit

_FOLLOWS, _NOT_STATED = "follows its training data: ", "not stated by its training data"


def export(
    path: Path,
    generator: Generator,
    config: BaseConfig,
    *,
    name: str,
    nimg: int,
    dataset: Dataset,
    notes: str,
    inherited_licence: str = "",
) -> None:
    """Write a checkpoint, weights as float16; the header tells whose licences it follows, nimg and `notes`.

    OutputError: the disk refuses.
    """
    network = exported(generator, config)
    header = checkpoint.describe(
        network,
        name=re.sub(r"[^A-Za-z0-9._+-]", "-", name).lstrip("._+-")[:100] or "base",
        licence=licence_line(dataset.manifest, inherited_licence),
        source="trained by installation train base",
        training_data=f"{dataset.path.name}, {len(dataset)} pictures of {dataset.size} px, sha256 {dataset.sha256}",
        nimg=nimg,
        notes=notes,
    )
    # 10 bits of mantissa: far below the 8 of a picture, and the file is half as large.
    tensors = {key: tensor.to(torch.float16) for key, tensor in network.state_dict().items()}
    checkpoint.save(path, tensors, header)


def inherited_from(path: Path) -> str:
    """The licence of what a run begins with: a checkpoint, a run's folder, or its `state.safetensors` alone.

    CheckpointError where it cannot be read.
    """
    file = path / EXPORT_NAME if path.is_dir() else path.with_name(EXPORT_NAME) if path.name == STATE_NAME else path
    if file.is_file():
        return read_header(file).licence
    state = load_state(file.with_name(STATE_NAME))
    # A state may be of a run that owed nobody.
    return "" if state is None else str(state.facts.get("licence") or _NOT_STATED)


def licence_line(manifest: Mapping[str, Any], inherited: str = "") -> str:
    """What a checkpoint's header says of `licence_text`."""
    licences = licence_text(manifest, inherited)
    return f"{_FOLLOWS}{licences}" if licences else _NOT_STATED


def licence_text(manifest: Mapping[str, Any], inherited: str = "") -> str:
    """The licences that a dataset's manifest names (`sources` with a `licence` each, or plain `licences`), then the inherited ones, each
    once; "" if none."""
    sources, plain = manifest.get("sources"), manifest.get("licences")
    found = [one.get("licence") for one in sources if isinstance(one, Mapping)] if isinstance(sources, list) else []
    if isinstance(plain, Mapping):
        found += plain.values()
    elif isinstance(plain, list):
        found += plain
    elif isinstance(plain, str):
        found.append(plain)
    inherited = inherited.removeprefix(_FOLLOWS)
    if inherited == _NOT_STATED:
        inherited = "not stated for what it began with" if found else ""
    for own in found:  # a licence may have a semicolon of its own
        inherited = inherited.replace(str(own), "")
    found += inherited.split("; ")
    return "; ".join(dict.fromkeys(str(one) for one in found if one))


def warm_start(trainee: BaseTrainee, path: Path) -> str:
    """Begin with a checkpoint's generator, or with all networks of another run (its folder or its state). What it was, for the record.

    A run of smaller pictures whose widths are the first of this one's grows: its resolutions go on, and the new ones begin without a
    say in the picture (as in Karras et al. 2018, arXiv:1710.10196, at once instead of by and by).
    With a generator alone the critic first learns by itself, for the images of the warm-up: until then it would only do harm.
    What a run is to stay with (`keep`) is the network that is shown: another run's average.
    CheckpointError if it does not fit or cannot be read.
    """
    begun = _begin_with(trainee, path)
    for term in trainee.steps.terms:
        if isinstance(term, Anchor):
            trainee.steps.generator.take(dict(trainee.average.named_parameters()))
            term.keep(trainee.average)
    return begun


def _begin_with(trainee: BaseTrainee, path: Path) -> str:
    state_path = path / STATE_NAME if path.is_dir() else path
    if path.is_dir() or path.name == STATE_NAME:
        state = load_state(state_path)
        if state is None:
            raise CheckpointError("there is no state to begin with", where=str(state_path))
        _adopt_state(trainee, state)
        return str(state_path)
    header = read_header(path)
    network = checkpoint.load(path)
    want = exported_config(trainee.config)
    if not isinstance(network, StyleGAN2):
        raise CheckpointError(f"the network is a {header.arch}, a stylegan2 is trained", where=str(path))
    have = dict(network.config)
    wrong = [f"{key} is {have[key]}, not {want[key]}" for key in want if key != "noise" and have[key] != want[key]]
    wrong += ["the network has classes"] if have["c_dim"] else []
    wrong += [f"the constant is {have['base']}"] if have["base"] != [4, 4] else []
    wrong += ["the mapping has another width"] if have["mapping_width"] != have["w_dim"] else []
    if wrong:
        fix = "Choose the config it was trained with, or change widths with --set"
        raise CheckpointError("the shape is another: " + "; ".join(wrong), where=str(path), fix=fix)
    # Constant noise maps, if it had any, are left out: pictures change a little, and training makes it good.
    tensors = network.state_dict()
    for generator in (trainee.steps.generator, trainee.average):
        generator.take(tensors)
    trainee.let_critic_learn_first()
    return str(path)


def _adopt_state(trainee: BaseTrainee, state: State) -> None:
    size = state.facts.get("config", {}).get("size", trainee.config.size)
    if size < trainee.config.size:
        _grow(trainee, state, size)
        return
    try:
        first, *others = trainee.steps.critics
        trainee.steps.generator.take(state.part("generator"))
        first.net.load_state_dict(state.part(first.name))
        # A state that was made small for a journey or a repository may be without: its generator is the average then.
        trainee.average.take(state.part("average") or state.part("generator"))
        for critic in others:
            if tensors := state.part(critic.name):
                critic.net.load_state_dict(tensors)
            elif trainee.config.keep:
                trainee.let_critic_learn_first()
    except (KeyError, RuntimeError, ValueError) as error:
        raise misfit(state, error, "the run's networks have another shape") from error


@torch.no_grad()
def _grow(trainee: BaseTrainee, state: State, size: int) -> None:
    new = f"b{trainee.config.size}"
    if 2 * size != trainee.config.size:
        raise CheckpointError(
            f"a run of {size} px cannot grow to {new[1:]} px at once",
            where=str(state.path),
            fix="Grow by twice the size",
        )
    steps, torgb = trainee.steps, f"synthesis.{new}.torgb.weight"
    try:
        fresh: dict[str, Tensor] = {name: p for name, p in steps.generator.named_parameters() if f".{new}." in name}
        fresh[torgb] = torch.zeros_like(fresh[torgb])
        steps.generator.take({**state.part("generator"), **fresh})
        trainee.average.take({**state.part("average"), **fresh})
        # The critic looks at the new size through layers that know nothing yet: it first learns alone.
        net = steps.critic.net
        fresh = {name: p for name, p in net.named_parameters() if name.startswith((f"{new}.", "fromrgb."))}
        net.load_state_dict({**state.part("critic"), **fresh})
    except (KeyError, RuntimeError, ValueError) as error:
        raise misfit(state, error, "the run's networks are no beginning of these") from error
    trainee.let_critic_learn_first()
