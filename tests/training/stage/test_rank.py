"""The critic as curator: real small pictures above broken ones, the same seeds as a show's, and files that hold no critic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError
from installation.latent.sphere import seed_z, to_sphere
from installation.models import checkpoint
from installation.models.header import read_header
from installation.training.dataset import Dataset
from installation.training.stage.curate import follows
from installation.training.stage.rank import load_critic, rank_seeds, score
from installation.training.stage.trainer import train_stage
from installation.training.tour import best
from tests.training.stage.conftest import TINY


@pytest.fixture(scope="module")
def run(dataset: Dataset, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_stage(dataset.path, folder, scale=2, kimg=0.02, device="cpu", overrides=TINY, previous=base)
    return folder


def test_every_seed_has_a_score_and_it_is_that_of_the_shows_portrait(run: Path, base: Path) -> None:
    state, stage = run / "state.safetensors", run / "G_ema.safetensors"
    scores = rank_seeds(state, [base], stage, range(5), psi=0.8, device="cpu")
    assert scores.shape == (5,)
    assert np.isfinite(scores).all()
    generator, enlarge = checkpoint.load(base), checkpoint.load(stage)
    lo = generator(torch.from_numpy(to_sphere(seed_z(3, generator.z_dim))[None]).float(), 0.8).clamp(-1, 1)  # pyright: ignore[reportArgumentType]
    assert float(score(load_critic(state), enlarge, lo)) == pytest.approx(scores[3], abs=1e-5)  # pyright: ignore[reportArgumentType]


def test_a_stage_that_is_conditioned_on_w_ranks_by_its_portrait(dataset: Dataset, base: Path, tmp_path: Path) -> None:
    w_dim = read_header(base).z_dim
    state, file = tmp_path / "run" / "state.safetensors", tmp_path / "run" / "G_ema.safetensors"
    changes = TINY | {"w_dim": str(w_dim), "lr_stage": "0.02"}
    train_stage(dataset.path, state.parent, scale=2, kimg=0.1, device="cpu", overrides=changes, previous=base)
    scores = rank_seeds(state, [base], file, [3], psi=0.8, device="cpu")
    generator, stage, critic = checkpoint.load(base), checkpoint.load(file), load_critic(state)
    z = 0.8 * torch.from_numpy(to_sphere(seed_z(3, w_dim))[None]).float()
    lo = generator(z).clamp(-1, 1)
    assert float(score(critic, stage, lo, z)) == pytest.approx(scores[0], abs=1e-6)  # pyright: ignore[reportArgumentType]
    assert float(score(critic, stage, lo)) != pytest.approx(scores[0], abs=3e-6)  # pyright: ignore[reportArgumentType]


def test_a_run_knows_what_it_was_trained_after(run: Path, base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(base.read_bytes() + b" ")
    assert follows(run, [base])
    assert not follows(run, [other])
    assert not follows(run, [base, base])
    # What is not there is refused where it is read, in one line.
    assert follows(run, [tmp_path / "nothing.safetensors"])
    assert follows(tmp_path, [base])


def test_the_best_come_first() -> None:
    assert best([10, 11, 12, 13], np.array([0.1, 3.0, -1.0, 2.0])) == [11, 13]
    assert best([5], np.array([0.0]), 0.1) == [5]


def test_a_file_without_a_critic_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_critic(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError):
        load_critic(run / "G_ema.safetensors")
