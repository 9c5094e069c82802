"""grid: a weave that sticks to the screen is found under all that pictures hold, and drawn away; what is real is left alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from installation.errors import ConfigError
from installation.training.base.grid import Grid
from installation.training.base.train import train_base
from installation.training.runs import STATE_NAME
from installation.training.state import load_state
from installation.training.team import Team
from tests.training.base.conftest import gone_on

CPU = torch.device("cpu")


def pictures(seed: int, n: int = 24, size: int = 64) -> Tensor:
    """Ground, a slope, grain, and an edge that lies elsewhere in each."""
    rng = torch.Generator().manual_seed(seed)
    columns = torch.arange(size) / size
    slope = columns * torch.rand(n, 3, 1, 1, generator=rng)
    edge = (columns > torch.rand(n, 1, 1, 1, generator=rng)).float()
    return slope + edge - 0.7 + 0.02 * torch.randn(n, 3, size, size, generator=rng)


def weave(period: float, size: int = 64) -> Tensor:
    return 0.02 * torch.sin(torch.arange(size) * (2 * math.pi / period) + 0.5).expand(1, 3, size, size)


def apart(grid: Grid, made: Tensor, real: Tensor) -> Tensor:
    return grid.spectrum(made) - grid.spectrum(real)


@pytest.mark.parametrize("period", [2.0, 2.3, 3.0, 4.5])
@pytest.mark.parametrize("turned", [False, True], ids=["columns", "rows"])
def test_a_weave_of_any_fine_period_stands_out(period: float, turned: bool) -> None:
    grid = Grid(64, CPU)
    plain, again = pictures(1), pictures(2)
    woven = again + weave(period)
    if turned:
        plain, again, woven = plain.mT, again.mT, woven.mT
    found = apart(grid, woven, plain)
    assert float(found.std()) > 2 * float(apart(grid, again, plain).std())
    row, column = divmod(int(grid.cells[found.argmax()]), 17)
    along, across = (row, column) if turned else (column, row)
    assert min(along, 32 - along) == pytest.approx(32 / period, abs=1)
    assert across in (0, 1, 31)


def test_more_or_less_of_everything_is_no_pattern() -> None:
    grid = Grid(64, CPU)
    rng = torch.Generator().manual_seed(5)
    rough = pictures(3) + 0.05 * torch.randn(24, 3, 64, 64, generator=rng)
    found = apart(grid, rough, pictures(4))
    assert float(found.mean()) > 1.0
    assert float(found.std()) < 0.25 * float(found.mean())


def test_descending_takes_the_weave_away_and_keeps_the_rest() -> None:
    grid, team = Grid(64, CPU), Team()
    amount = torch.ones((), requires_grad=True)
    ground = torch.ones((), requires_grad=True)
    said = []
    for step in range(80):
        spectrum = grid.spectrum(ground * pictures(100 + step, n=8) + amount * weave(2.3))
        amount.grad = ground.grad = None
        grid.loss(spectrum).backward()
        assert amount.grad is not None
        assert ground.grad is not None
        with torch.no_grad():
            amount -= 1.5 * amount.grad
            ground -= 0.01 * ground.grad
        said.append(float(grid.learn(spectrum.detach() - grid.spectrum(pictures(500 + step, n=8)), team)))
    assert abs(float(amount.detach())) < 0.35
    assert float(ground.detach()) == pytest.approx(1.0, abs=0.1)
    assert said[-1] < 0.4 * max(said)


@pytest.mark.parametrize("size", [8, 16, 32, 128])
def test_it_is_made_for_every_size_and_even_pictures_do_no_harm(size: int) -> None:
    grid = Grid(size, CPU)
    even = torch.zeros(2, 3, size, size, requires_grad=True)
    spectrum = grid.spectrum(even)
    assert len(spectrum) == len(grid.apart) > 0
    grid.learn(spectrum.detach() - 1, Team())
    grid.loss(spectrum).backward()
    assert even.grad is not None
    assert bool(even.grad.isfinite().all())


@pytest.mark.slow
def test_a_run_with_it_goes_on_as_if_never_stopped(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    whole = gone_on(disc_data, tmp_path, {**small, "grid": "8"})
    assert float(whole.tensors["grid"].abs().max()) > 0
    assert '"grid"' in (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_a_finished_network_is_kept_but_for_its_patterns_and_nobody_judges(
    disc_data: Path, small: dict[str, str], tmp_path: Path
) -> None:
    train_base(disc_data, tmp_path / "first", kimg=0.08, device="cpu", overrides=small)
    recipe = {**small, "grid": "8", "keep": "500"}
    with pytest.raises(ConfigError, match="keep needs eyes or grid"):
        train_base(disc_data, tmp_path / "even", kimg=0.08, device="cpu", overrides={**small, "keep": "500"})
    train_base(
        disc_data, tmp_path / "even", kimg=0.16, device="cpu", overrides=recipe, warm_start_from=tmp_path / "first"
    )
    text = (tmp_path / "even" / "metrics.jsonl").read_text()
    assert '"moved"' in text
    assert "loss_critic" not in text
    before, after = (load_state(tmp_path / name / STATE_NAME) for name in ("first", "even"))
    assert before is not None
    assert after is not None
    kept, moved = after.part("anchor"), after.part("generator")
    changed = {name.split(".")[1] for name in kept if not torch.equal(kept[name].float(), moved[name].float())}
    assert changed == {"b8", "b16", "b32"}
