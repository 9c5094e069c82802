"""Recipes: names, overrides, and every fault said together."""

from __future__ import annotations

import pytest
import torch

from installation.errors import ConfigError
from installation.models import projection
from installation.training.stage.configs import CONFIGS, resolve
from installation.training.stage.networks import Critic, new_stage


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("scale", projection.SCALES)
def test_every_recipe_makes_networks_that_fit_its_crops(name: str, scale: int) -> None:
    config = resolve(name, {})
    stage, critic = new_stage(config, scale, 0), Critic(config.critic_widths, scale)
    side = config.crop // scale
    assert side % stage.input_multiple == 0
    with torch.device("meta"):
        img, lo = torch.empty(1, 3, config.crop, config.crop), torch.empty(1, 3, side, side)
    critic.to("meta")
    logits = critic(img, lo)
    assert logits.shape[:2] == (1, 1)
    assert logits.shape[2] >= 4, "verdicts on patches, not on the whole"


@pytest.mark.parametrize("text", ["gan=nan", "lr_stage=inf", "steady=nan"])
def test_a_number_that_is_none_is_refused_by_its_name(text: str) -> None:
    key, _, value = text.partition("=")
    with pytest.raises(ConfigError, match=f"{text} is not a number"):
        resolve("nano", {key: value})


@pytest.mark.parametrize("name", ["nano", "realtime", "tile4k"])
def test_a_new_stage_is_the_smooth_enlargement_and_learns(name: str) -> None:
    lo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    stage = new_stage(resolve(name, {}), 4, 0)
    out = stage(lo)
    assert torch.allclose(out, projection.up(lo, 4), atol=1e-5)
    out.square().mean().backward()
    assert stage.last.weight.grad is not None
    assert stage.last.weight.grad.abs().max() > 0


def test_overrides_take_the_fields_own_types() -> None:
    config = resolve("nano", {"widths": "8,16", "blocks": "1,1", "gamma": "0.5", "batch": "3"})
    assert (config.widths, config.gamma, config.batch) == ((8, 16), 0.5, 3)


def test_all_faults_are_listed_with_the_nearest_word() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("nano", {"gama": "1", "batch": "many", "crop": "130", "lr_stage": "0"})
    text = str(caught.value)
    for part in ("'gamma'", "batch=many", "crop must be a multiple", "learning rates"):
        assert part in text
    with pytest.raises(ConfigError, match="did you mean 'nano'"):
        resolve("nanno", {})
