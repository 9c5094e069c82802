"""What only a GPU can show: bfloat16, the probe, torch.compile, and the same run on a CPU afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.training.base.config import BaseConfig, resolve
from installation.training.base.plan import Plan
from installation.training.base.probe import probe
from installation.training.base.steps import Steps
from installation.training.base.train import train_base
from installation.training.base.trainee import BaseTrainee
from installation.training.features import efficientnet
from installation.training.feed import Feed
from installation.training.runs import STATE_NAME
from installation.training.state import load_state
from installation.training.team import Team

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch.compile's own, on Python 3.12
    # Its advice, where a card has them; what is float32 here is so on purpose.
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here"),
]


@pytest.fixture(scope="module", autouse=True)
def _compilers_end() -> Iterator[None]:
    """The processes in which torch.compile compiles wait for more as long as this one lives, and no test leaves any behind."""
    yield
    if compilers := sys.modules.get("torch._inductor.async_compile"):
        compilers.shutdown_compile_workers()


@pytest.fixture
def config() -> BaseConfig:
    return resolve("c64", {"batch": "16"})


def test_the_probe_stays_within_two_minutes_and_picks_the_fastest(config: BaseConfig) -> None:
    result = probe(config, torch.device("cuda"))
    print(result.table())
    assert result.seconds < 120
    assert result.best in {row.plan for row in result.rows if row.images_per_s}


def test_half_precision_and_compilation_change_little(config: BaseConfig) -> None:
    device = torch.device("cuda")
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    except Exception as error:  # it needs a C compiler and Python's headers, which a machine may lack
        pytest.skip(f"torch.compile cannot compile anything here: {str(error).strip().splitlines()[0]}")
    plain = Steps(config, Plan(16), device, seed=0)
    compiled = Steps(config, Plan(16, compiled=True), device, seed=0)
    z = torch.randn(16, config.z_dim, device=device)
    with torch.no_grad():
        img = plain.generator(z)
        assert (compiled.fast_generator(z) - img).abs().mean() < 0.02 * img.abs().mean()
        half, full = plain.critic.net(img, 4), plain.critic.net(img, 4, full=True)
    assert (half - full).abs().mean() < 0.1 * full.std() + 0.02


def test_recorded_steps_learn_what_plain_ones_learn(config: BaseConfig) -> None:
    device = torch.device("cuda")
    projected = float(efficientnet.installed())
    config = replace(config, projected=projected, augment_kimg=0.0)
    images = np.random.default_rng(0).integers(0, 256, (64, 3, config.size, config.size), np.uint8)
    numbers = []
    for recorded in (False, True):
        feed = Feed(images, np.arange(64), device, seed=0, flip=True)
        trainee = BaseTrainee(
            config, Plan(16, recorded=recorded), feed, None, seed=0, device=device, team=Team(), on_show=lambda t: {}
        )
        steps = [trainee.step() for _ in range(40)]
        assert trainee.steps.critic.adam.steps == 40
        if trainee.steps.graphed is not None:
            assert len(trainee.steps.graphed.graphs) == 2
        names = ("loss_critic", "loss_projected")[: 1 + int(projected)]
        last = torch.stack([torch.stack([step[name] for name in names]) for step in steps])
        weights = torch.cat([p.detach().flatten() for p in trainee.steps.generator.parameters()])
        numbers.append((last[:8].cpu(), weights.cpu()))
    (plain, plain_weights), (again, weights) = numbers
    # Sums on a GPU are not made in one order, and a GAN amplifies: the first steps agree, the weights stay near.
    assert torch.allclose(plain, again, rtol=0.05, atol=0.02)
    assert (weights - plain_weights).norm() < 0.5 * plain_weights.norm()


def test_a_run_begun_on_a_gpu_goes_on_on_a_cpu(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "discs"
    assert train_base(disc_data, out, kimg=0.16, device="cuda", overrides=small).nimg == 160
    assert train_base(disc_data, out, kimg=0.2, device="cpu", overrides=small).nimg == 200
    state = load_state(out / STATE_NAME)
    assert state is not None
    assert all(bool(tensor.isfinite().all()) for tensor in state.tensors.values())
