"""A run's state fits through a narrow door: 60 MB for the 128 px config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from installation.training.base.config import resolve
from installation.training.base.plan import Plan
from installation.training.base.trainee import BaseTrainee
from installation.training.feed import Feed
from installation.training.state import load_state, save_state
from installation.training.team import Team


def trainee(config_name: str) -> BaseTrainee:
    config, cpu = resolve(config_name, {}), torch.device("cpu")
    feed = Feed(np.zeros((4, 3, config.size, config.size), np.uint8), np.arange(4), cpu, seed=0, flip=False)
    return BaseTrainee(config, Plan(1), feed, None, seed=0, device=cpu, team=Team(), on_show=lambda trainee: {})


def test_b128_has_the_size_it_was_planned_with(tmp_path: Path) -> None:
    made = trainee("b128")
    generator = sum(p.numel() for p in made.steps.generator.parameters())
    critic = sum(p.numel() for p in made.steps.critic.net.parameters())
    assert 3.8e6 < generator < 4.0e6
    assert 4.0e6 < critic < 4.5e6
    save_state(tmp_path / "state.safetensors", *made.state())
    size = (tmp_path / "state.safetensors").stat().st_size
    # Weights, average and v of the generator, weights and v of the critic: two bytes each.
    assert abs(size - 2 * (3 * generator + 2 * critic)) < 60_000
    assert size < 42e6


def test_a_compact_state_comes_back_as_near_as_one_step(tmp_path: Path) -> None:
    made, other = trainee("b128"), trainee("b128")
    save_state(tmp_path / "state.safetensors", *made.state())
    with torch.no_grad():
        for parameter in other.steps.generator.parameters():
            parameter.zero_()
    state = load_state(tmp_path / "state.safetensors")
    assert state is not None
    other.restore(state)
    error = other.steps.generator.synthesis.get_parameter(
        "b64.conv1.weight"
    ) - made.steps.generator.synthesis.get_parameter("b64.conv1.weight")
    assert 0 < error.square().mean().sqrt() < made.config.lr_generator


def test_tiny_states_are_exact() -> None:
    made = trainee("tiny")
    stored, _ = made.state()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    assert sum(tensor.nbytes for tensor in stored.values()) < 8e6
