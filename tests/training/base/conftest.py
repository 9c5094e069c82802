"""Small data for training: coloured discs on coloured ground, and the smallest recipe that has every part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from installation.training.base.train import train_base
from installation.training.dataset import write_dataset
from installation.training.runs import STATE_NAME
from installation.training.state import State, load_state

SMALL = {
    "size": "32",
    "channels": "8,8,8,8",
    "critic_channels": "8,8,8,8",
    "z_dim": "8",
    "w_dim": "8",
    "batch": "8",
    "warm_kimg": "0.05",
    "augment_kimg": "0.2",
    "show_kimg": "0.2",
    "held_out": "0.3",
}


def discs(count: int, size: int, seed: int = 0) -> list[np.ndarray]:
    """uint8 [3, size, size] each: a disc of one colour about the middle, on another."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] + 0.5
    pictures = []
    for _ in range(count):
        y, x = size * rng.uniform(0.4, 0.6, 2)
        inside = np.hypot(rows - y, columns - x) < size * rng.uniform(0.2, 0.35)
        ground, disc = rng.integers(0, 120, 3), rng.integers(130, 256, 3)
        pictures.append(np.where(inside, disc[:, None, None], ground[:, None, None]).astype(np.uint8))
    return pictures


def pack_discs(path: Path, size: int = 32, count: int = 128) -> Path:
    names = [f"disc{i}.png" for i in range(count)]
    write_dataset(path, discs(count, size), names=names, manifest={"licences": ["CC0-1.0"]}, size=size)
    return path


@pytest.fixture(scope="session")
def disc_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of 128 discs, 32 px."""
    return pack_discs(tmp_path_factory.mktemp("discs") / "discs32.safetensors")


def gone_on(data: Path, folder: Path, recipe: dict[str, str], *, stop: float = 0.08, **more: Any) -> State:
    """The state of a run of 0.16 kimg, after holding it against one that stopped on the way and went on: no tensor may differ.

    The runs are `whole` and `halves` in `folder`. stop: kimg. more: for `train_base`.
    """
    for kimg in (stop, 0.16):
        train_base(data, folder / "halves", config="tiny", kimg=kimg, device="cpu", overrides=recipe, **more)
    train_base(data, folder / "whole", config="tiny", kimg=0.16, device="cpu", overrides=recipe, **more)
    halves, whole = (load_state(folder / name / STATE_NAME) for name in ("halves", "whole"))
    assert halves is not None
    assert whole is not None
    for name, tensor in whole.tensors.items():
        assert torch.equal(halves.tensors[name], tensor), name
    return whole


def taken_over(data: Path, folder: Path, recipe: dict[str, str]) -> State:
    """The state of a run that begins with `folder`/whole, before its first step."""
    settings = {"config": "tiny", "kimg": 0.0, "device": "cpu", "overrides": recipe}
    train_base(data, folder / "next", **settings, warm_start_from=folder / "whole")
    state = load_state(folder / "next" / STATE_NAME)
    assert state is not None
    return state


@pytest.fixture(scope="session")
def small() -> dict[str, str]:
    """Overrides that make `tiny` a 32 px network which takes 20 steps in a second."""
    return dict(SMALL)
