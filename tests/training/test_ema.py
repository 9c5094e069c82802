"""Half-lives are what they say, whatever the batch."""

from __future__ import annotations

import pytest
import torch

from installation.training.ema import HalfLife, follow


@pytest.mark.parametrize("batch", [1, 8, 250])
def test_after_a_half_life_half_is_left(batch: int) -> None:
    half = HalfLife(1000, ramp=0)
    left = 1.0
    for nimg in range(batch, 1001, batch):
        left *= half.decay(nimg, batch)
    assert left == pytest.approx(0.5)


def test_a_young_average_forgets_faster() -> None:
    half = HalfLife(1000, ramp=0.05)
    assert half.decay(0, 10) == 0.0
    assert half.decay(2000, 100) == pytest.approx(0.5)
    assert half.decay(10**9, 1000) == pytest.approx(0.5)


def test_the_average_moves_by_what_is_not_kept() -> None:
    average, live = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0], requires_grad=True)
    follow([average], [live], 0.75)
    assert average.tolist() == [1.5, 3.0]
    follow([average], [live], 0.0)
    assert average.tolist() == [3.0, 6.0]
    assert live.tolist() == [3.0, 6.0]
