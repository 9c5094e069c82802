"""That every loss of a base is in what it learns from, with its weight, and that it learns from the pictures that are for learning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from installation.training.base import steps as module
from installation.training.base import train as training
from installation.training.base.grid import Grid
from installation.training.base.train import train_base
from installation.training.base.trainee import BaseTrainee
from installation.training.dataset import open_dataset
from installation.training.loop import Outcome
from installation.training.runs import EXPORT_NAME


@pytest.fixture
def begun(
    monkeypatch: pytest.MonkeyPatch, disc_data: Path, small: dict[str, str], tmp_path: Path
) -> Callable[..., BaseTrainee]:
    """A run's trainee as it is before its first step."""

    def make(**options: Any) -> BaseTrainee:
        found: list[BaseTrainee] = []

        def stopped(trainee: BaseTrainee, *_: object, **__: object) -> Outcome:
            found.append(trainee)
            return Outcome(0, "kimg", 0, 0.0)

        changes = small | options.pop("overrides", {})
        with monkeypatch.context() as patch:
            patch.setattr(training, "train", stopped)
            train_base(
                disc_data,
                tmp_path / f"run{len(list(tmp_path.iterdir()))}",
                config="tiny",
                kimg=1,
                device="cpu",
                overrides=changes,
                **options,
            )
        return found[0]

    return make


def pictures(trainee: BaseTrainee, held_out: bool) -> set[bytes]:
    """All that a feed gives in many batches, mirrored ones as they are."""
    feed = trainee.held_out if held_out else trainee.feed
    assert feed is not None
    found = set()
    for nimg in range(0, 2048, 64):
        batch = feed.batch(nimg, 64)
        for img in (*batch, *batch.flip(3)):
            found.add(img.mul(127.5).add(127.5).round().byte().numpy().tobytes())
    return found


def test_what_is_held_out_is_never_trained_on(begun: Callable[..., BaseTrainee], disc_data: Path) -> None:
    data = open_dataset(disc_data)
    learn, held_out = data.split(0.3)

    def those(rows: np.ndarray) -> set[bytes]:
        return {
            each.tobytes() for i in rows for each in (data.images[i], np.ascontiguousarray(data.images[i][:, :, ::-1]))
        }

    trainee = begun()
    assert pictures(trainee, False) == those(learn)
    assert pictures(trainee, True) == those(held_out)


def test_a_warm_start_is_shown_from_its_first_picture(
    begun: Callable[..., BaseTrainee], disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    """What is shown is the average: it too begins as the network that was named."""
    train_base(disc_data, tmp_path / "first", config="tiny", kimg=0.008, device="cpu", overrides=small)
    trainee = begun(warm_start_from=tmp_path / "first" / EXPORT_NAME)
    for mine, theirs in zip(trainee.average.parameters(), trainee.steps.generator.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    fresh = begun()
    assert any(
        not torch.equal(a, b) for a, b in zip(fresh.average.parameters(), trainee.average.parameters(), strict=True)
    )


def test_a_run_that_went_back_draws_other_numbers(begun: Callable[..., BaseTrainee]) -> None:
    trainee = begun()
    before = trainee._batch().z
    assert torch.equal(trainee._batch().z, before)
    trainee.retry(1, 0.5)
    assert not torch.equal(trainee._batch().z, before)


class _Line(nn.Module):
    """A critic whose slope is known: a weight for every value of a picture."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, img: Tensor, group: int, full: bool = False) -> Tensor:
        return (img * self.slope).flatten(1).sum(1)


def test_the_penalties_on_real_and_on_made_pictures_count_for_the_steps_without(
    begun: Callable[..., BaseTrainee],
) -> None:
    """R1 + R2 of a line are twice its slope's square; gamma / 2 of them, times the steps from one to the next."""
    trainee = begun(overrides={"augment": "off", "gamma": "0.3", "penalty_every": "8", "penalty": "exact"})
    steps, batch = trainee.steps, trainee._batch()
    line = _Line(batch.real.shape[1:])
    steps.critic.net = steps.critic.fast = line
    made = steps.generator(batch.z[0]).detach()
    total, told = steps.critic.loss(batch, made, penalised=True)
    square = float(line.slope.detach().square().sum())
    assert told["penalty"].item() == pytest.approx(2 * square, rel=1e-4)
    assert (total - told["loss"]).item() == pytest.approx(0.3 / 2 * 8 * 2 * square, rel=1e-4)


def descended(
    trainee: BaseTrainee, monkeypatch: pytest.MonkeyPatch, *, paths: bool = False
) -> tuple[list[float], dict[str, float]]:
    """(every value that one step descends, in order; the numbers it tells)."""
    values: list[float] = []
    backward = Tensor.backward

    def noted(self: Tensor, *words: object, **more: object) -> None:
        values.append(self.detach().item())
        backward(self, *words, **more)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "backward", noted)
        told = trainee.steps.step(trainee._batch(), 0, rate=lambda peak: 1e-4, alone=False, paths=paths)
    return values, {name: value.item() for name, value in told.items()}


def test_path_lengths_count_for_the_steps_in_which_they_are_not_taken(
    begun: Callable[..., BaseTrainee], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[float] = []
    penalty = module.path_penalty

    def noted(lengths: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        found = penalty(lengths, mean)
        taken.append(found[0].item())
        return found

    trainee = begun(overrides={"path_weight": "0.7", "path_kimg": "0"})
    monkeypatch.setattr(module, "path_penalty", noted)
    values, told = descended(trainee, monkeypatch, paths=True)
    assert told["path_length"] > 0
    assert taken[0] > 0
    assert values[-1] == pytest.approx(0.7 * 4 * taken[0], rel=1e-5)


def test_the_critics_and_the_generators_losses_are_what_is_descended(
    begun: Callable[..., BaseTrainee], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainee = begun(overrides={"grid": "0.5", "gamma": "0"})
    spectrum: list[float] = []
    (grid,) = trainee.steps.terms
    assert isinstance(grid, Grid)
    loss = grid.loss

    def noted(found: Tensor) -> Tensor:
        value = loss(found)
        spectrum.append(value.item())
        return value

    with torch.no_grad():  # of which it knows nothing before its first step
        grid.apart.normal_(generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(grid, "loss", noted)
    values, told = descended(trainee, monkeypatch)
    assert abs(spectrum[0]) > 1e-6
    assert values[0] == pytest.approx(told["loss_critic"], rel=1e-5)
    assert values[1] == pytest.approx(told["loss_generator"] + 0.5 * spectrum[0], rel=1e-5)
