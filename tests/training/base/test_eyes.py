"""The critic of the eyes: where it looks, that it learns, and that a run with it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import ConfigError
from installation.training.augment import Augment
from installation.training.base.anchor import Anchor, learning
from installation.training.base.config import CONFIGS, resolve
from installation.training.base.eyes import EyeCritic
from installation.training.base.generator import Generator
from installation.training.base.plan import Plan
from installation.training.base.train import train_base
from installation.training.data.crop import ffhq_quad
from installation.training.runs import STATE_NAME
from installation.training.state import load_state
from tests.training.base.conftest import gone_on, taken_over

CPU = torch.device("cpu")
TINY = replace(CONFIGS["tiny"], eyes=1.0)


@pytest.fixture(scope="module")
def critic() -> EyeCritic:
    torch.manual_seed(0)
    return EyeCritic(TINY, Plan(4), CPU)


def as_they_are(n: int):
    return Augment().draw(n, 0.0, torch.Generator().manual_seed(0))


def test_it_sees_both_eyes_the_right_one_mirrored(critic: EyeCritic) -> None:
    left, right = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    img = torch.zeros(1, 3, 64, 64)
    img[:, :, 22:38, 16:32], img[:, :, 22:38, 32:48] = left, right
    seen = critic.look(img, as_they_are(1))
    assert torch.equal(seen, torch.cat([left, right.flip(3)], dim=1))


def test_a_mirrored_picture_shows_the_same_eyes_in_the_other_order(critic: EyeCritic) -> None:
    img = torch.rand(2, 3, 64, 64)
    one, other = critic.look(img, as_they_are(2)), critic.look(img.flip(3), as_they_are(2))
    assert torch.equal(other, one.roll(3, dims=1))


def test_the_windows_lie_where_the_crop_puts_the_eyes(critic: EyeCritic) -> None:
    # A face that looks ahead, as wide as high from eyes to mouth: left eye, right eye, nose, the corners of the mouth.
    points = np.array([[80.0, 100], [120, 100], [100, 122], [84, 144], [116, 144]])
    corners = ffhq_quad(points).corners
    low, high = corners.min(0), corners.max(0)
    img = torch.zeros(1, 3, 64, 64)
    for x, y in (points[:2] - low) / (high - low) * 64:
        img[:, :, int(y), int(x)] = 1
    seen = critic.look(img, as_they_are(1))[0]
    for eye in (seen[0], seen[3]):
        rows, columns = torch.nonzero(eye, as_tuple=True)
        assert rows.tolist() == pytest.approx([8], abs=2)
        assert columns.tolist() == pytest.approx([8], abs=2)


def test_colour_and_place_are_changed_and_nothing_is_cut_out(critic: EyeCritic) -> None:
    draw = Augment(colour=0.5).draw(16, 1.0, torch.Generator().manual_seed(0))
    img = torch.full((16, 3, 64, 64), 0.5)
    seen = critic.look(img, draw)
    assert seen.std(dim=0).max() > 0.05
    # What comes in from the side is grey: at most a sixteenth of the band, to each side and from above or below.
    assert (seen == 0).float().mean() < 0.2


def test_colour_is_changed_as_much_as_the_run_says(critic: EyeCritic) -> None:
    img = torch.full((8, 3, 64, 64), 0.5)
    seen = critic.look(img, Augment(colour=0.0).draw(8, 1.0, torch.Generator().manual_seed(0)))
    assert set(seen.unique().tolist()) <= {0.0, 0.5}


def test_it_takes_a_gradient_back_to_the_picture(critic: EyeCritic) -> None:
    img = torch.rand(4, 3, 64, 64, requires_grad=True)
    critic.net(critic.look(img, as_they_are(4)), 4).sum().backward()
    assert img.grad is not None
    assert img.grad[:, :, 22:38, 16:48].abs().max() > 0
    assert img.grad[:, :, :22].abs().max() == 0


@pytest.mark.slow
def test_a_run_with_it_goes_on_as_if_never_stopped(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    recipe = {**small, "eyes": "1"}
    whole = gone_on(disc_data, tmp_path, recipe)
    assert whole.facts["eyes_steps"] == 20
    after = taken_over(disc_data, tmp_path, recipe)
    assert all(torch.equal(whole.tensors[f"eyes.{name}"], p) for name, p in after.part("eyes").items())
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["config"]["eyes"] == 1
    assert "loss_eyes" in (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_the_anchor_minds_all_but_the_fine_structure_of_the_eyes() -> None:
    torch.manual_seed(0)
    generator = Generator(TINY)
    anchor = Anchor(generator, TINY)
    z = torch.randn(2, TINY.z_dim)
    with torch.no_grad():
        made = generator(z)
    assert anchor.loss(z, made) == 0
    iris = torch.zeros_like(made)
    iris[:, :, 28:32, 22:26] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    inside, below = anchor.loss(z, made + iris), anchor.loss(z, made + iris.roll(24, dims=2))
    assert inside < 0.01 * below
    paler = torch.zeros_like(made)
    paler[:, :, 22:38, 16:48] = 0.5
    assert anchor.loss(z, made + paler) > 10 * inside
    assert anchor.loss(z, made + paler) > 1e-3


def test_layers_of_the_eyes_are_those_from_a_quarter_of_the_size_up() -> None:
    names = learning(Generator(TINY), 64)
    assert {name.split(".")[1] for name in names} == {"b16", "b32", "b64"}


@pytest.mark.slow
def test_eyes_drawn_anew_leave_the_rest_of_the_network_and_go_on_after_a_stop(
    disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    train_base(disc_data, tmp_path / "first", config="tiny", kimg=0.08, device="cpu", overrides=small)
    before = load_state(tmp_path / "first" / STATE_NAME)
    recipe = {**small, "eyes": "1", "keep": "20", "warm_kimg": "0.04"}
    whole = gone_on(disc_data, tmp_path, recipe, stop=0.04, warm_start_from=tmp_path / "first")
    assert before is not None
    assert whole.facts["eyes_steps"] == 20
    assert whole.facts["generator_steps"] == 15  # in the first five the critic learnt alone
    # What is kept is the network that is shown, the average.
    began, anchor, now = before.part("average"), whole.part("anchor"), whole.part("generator")
    assert all(torch.equal(anchor[name], began[name]) for name in began)
    # At 32 px a quarter of the size is 8: of the synthesis the 4 px layer stays.
    learnt = {name for name in began if not torch.equal(began[name], now[name])}
    assert learnt == {name for name in began if name.startswith(("synthesis.b8.", "synthesis.b16.", "synthesis.b32."))}
    assert all(torch.equal(p, whole.part("critic")[name]) for name, p in before.part("critic").items())
    assert "moved" in (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_what_is_to_be_kept_must_be_named(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no network to keep"):
        train_base(
            disc_data, tmp_path / "run", config="tiny", device="cpu", overrides={**small, "eyes": "1", "keep": "20"}
        )
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="keep needs eyes"):
        resolve("tiny", {"keep": "20"})
    with pytest.raises(ConfigError, match="keep goes without"):
        resolve("tiny", {"keep": "20", "eyes": "1", "projected": "1"})


def test_pictures_too_small_for_it_are_refused() -> None:
    with pytest.raises(ConfigError, match="eyes needs a size of at least 32"):
        resolve("tiny", {"size": "16", "channels": "8,8,8", "critic_channels": "8,8,8", "eyes": "1"})
