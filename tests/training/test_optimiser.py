"""Adam without momentum against its equation; the learning rate's course."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from installation.training.optimiser import Adam, Rate


def test_adam_is_its_equation() -> None:
    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    adam = Adam({"p": p}, beta2=0.9)
    value, v = p.detach().clone(), torch.zeros(2)
    for t, gradient in enumerate([torch.tensor([0.5, -1.0]), torch.tensor([-0.1, 4.0])], start=1):
        p.grad = gradient.clone()
        adam.step(0.1)
        v = 0.9 * v + 0.1 * gradient**2
        value = value - 0.1 * gradient / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
    assert torch.allclose(p.detach(), value)
    assert torch.allclose(adam.state()["p"], v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_restored_optimiser_goes_on_as_the_first(dtype: torch.dtype) -> None:
    def run(adam: Adam, p: nn.Parameter, steps: range) -> None:
        for t in steps:
            p.grad = torch.tensor([float(t + 1), 0.5])
            adam.step(0.01)

    p = nn.Parameter(torch.zeros(2))
    whole = Adam({"p": p})
    run(whole, p, range(3))
    q = nn.Parameter(p.detach().clone())
    second = Adam({"p": q})
    second.restore({name: v.to(dtype) for name, v in whole.state().items()}, whole.steps)
    run(whole, p, range(3, 6))
    run(second, q, range(3, 6))
    assert torch.allclose(p, q, rtol=1e-6 if dtype == torch.float32 else 1e-2)


def test_a_state_of_another_shape_is_refused() -> None:
    adam = Adam({"p": nn.Parameter(torch.zeros(2))})
    with pytest.raises(ValueError, match="shape"):
        adam.restore({"p": torch.zeros(3)}, 1)


def test_the_rate_warms_up_and_comes_down_to_its_floor() -> None:
    rate = Rate(0.01, warm_up=100, horizon=1000, floor=0.25)
    assert rate.at(0) == pytest.approx(0.0001)
    assert rate.at(500) == pytest.approx(0.01 * (0.25 + 0.75 * 0.5))
    assert rate.at(1000) == rate.at(50_000) == pytest.approx(0.0025)
    assert max(rate.at(n) for n in range(0, 1000, 10)) <= 0.01


def test_without_warm_up_and_horizon_the_rate_is_constant() -> None:
    assert {Rate(0.3).at(nimg) for nimg in (0, 10, 10**7)} == {0.3}
    assert math.isfinite(Rate(0.3).at(0))
