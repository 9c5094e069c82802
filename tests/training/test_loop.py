"""The loop: limits, saves, shows, and the way back from numbers that are none. With a trainee whose whole state is one number."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from installation.errors import ConfigError, EngineError, OutputError
from installation.training import loop as module
from installation.training.loop import Pace, Progress, check_resume, owed_at, train
from installation.training.state import State, load_state, previous, save_state

BATCH = 100


class Clock:
    """A clock on which every look takes a second."""

    def __init__(self, tick: float = 1.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Counter:
    """A trainee that adds the learning rate to its weight; `fault` may spoil a step."""

    def __init__(self, fault: Callable[[Counter], bool] = lambda trainee: False) -> None:
        self.nimg, self.weight, self.lr, self.retries = 0, torch.zeros(()), 1.0, 0
        self.fault = fault
        self.shown: list[int] = []

    def step(self) -> Mapping[str, Tensor]:
        self.nimg += BATCH
        self.weight = self.weight + (float("nan") if self.fault(self) else self.lr)
        return {"loss": self.weight}

    def sound(self) -> bool:
        return bool(self.weight.isfinite())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"weight": self.weight}, {"nimg": self.nimg}

    def restore(self, state: State) -> None:
        self.weight, self.nimg = state.tensors["weight"], state.facts["nimg"]

    def retry(self, count: int, lr_factor: float) -> None:
        self.retries, self.lr = count, lr_factor

    def show(self) -> Mapping[str, float]:
        self.shown.append(self.nimg)
        return {"quality": 1.0}


PACE = Pace(save_s=20, log_s=5, check_s=1, show_kimg=1.0)


def run(trainee: Counter, folder: Path, **options: Any):
    options = {"pace": PACE, "clock": Clock(), **options}
    return train(trainee, folder / "state.safetensors", **options)


def saved(folder: Path) -> int:
    state = load_state(folder / "state.safetensors")
    assert state is not None
    return state.facts["nimg"]


def test_it_ends_at_kimg_with_everything_saved_and_shown(tmp_path: Path) -> None:
    trainee = Counter()
    outcome = run(trainee, tmp_path, kimg=2.5)
    assert (outcome.nimg, outcome.reason, outcome.rolled_back) == (2500, "kimg", 0)
    assert saved(tmp_path) == 2500
    assert trainee.shown == [0, 1000, 2000, 2500]


def test_it_ends_when_the_minutes_are_over(tmp_path: Path) -> None:
    outcome = run(Counter(), tmp_path, minutes=1.0)
    assert outcome.reason == "minutes"
    assert 0 < outcome.nimg < 60 * BATCH
    assert saved(tmp_path) == outcome.nimg


def test_the_same_call_goes_on_to_the_same_end(tmp_path: Path) -> None:
    run(Counter(), tmp_path, kimg=1.5)
    second = Counter()
    outcome = run(second, tmp_path, kimg=3.0)
    assert outcome.nimg == 3000
    assert second.weight.item() == 30.0
    assert second.shown == [2000, 3000]


def test_a_state_that_came_alone_is_shown_at_once(tmp_path: Path) -> None:
    product = tmp_path / "G_ema.safetensors"
    run(Counter(), tmp_path, kimg=1.5, product=product)
    assert owed_at(tmp_path / "state.safetensors", product) == 1500
    second, third = Counter(), Counter()
    run(second, tmp_path, kimg=1.5, product=product)
    assert second.shown == [1500]
    product.touch()
    run(third, tmp_path, kimg=1.5, product=product)
    assert third.shown == []
    assert owed_at(tmp_path / "state.safetensors", product) is None


def test_a_state_is_not_begun_over_where_nobody_may_go_on(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    check_resume("never", state)
    for one in (previous(state), state):
        one.touch()
        check_resume("auto", state)
        with pytest.raises(ConfigError, match="already holds a run"):
            check_resume("never", state)
        one.unlink()
    with pytest.raises(ConfigError, match="auto or never"):
        check_resume("maybe", state)


def test_a_run_that_has_reached_its_end_does_nothing(tmp_path: Path) -> None:
    run(Counter(), tmp_path, kimg=1.0)
    before = (tmp_path / "state.safetensors").read_bytes()
    outcome = run(Counter(), tmp_path, kimg=1.0)
    assert outcome.nimg == 1000
    assert (tmp_path / "state.safetensors").read_bytes() == before


@pytest.mark.parametrize("fatal", [0, 1000, 1500])
def test_a_show_that_a_kill_or_a_full_disk_cut_short_is_made_good(tmp_path: Path, fatal: int) -> None:
    class Cut(Counter):
        def show(self) -> Mapping[str, float]:
            if self.nimg == fatal:
                raise OutputError("full", where="disk")
            return super().show()

    with pytest.raises(OutputError):
        run(Cut(), tmp_path, kimg=1.5)
    assert owed_at(tmp_path / "state.safetensors", tmp_path) == fatal
    again = Counter()
    assert run(again, tmp_path, kimg=1.5).nimg == 1500
    assert owed_at(tmp_path / "state.safetensors", tmp_path) is None
    assert again.shown == [nimg for nimg in (0, 1000, 1500) if nimg >= fatal]
    assert again.weight.item() == 15.0


def test_a_state_of_before_shows_were_owed_begins_with_its_show(tmp_path: Path) -> None:
    save_state(tmp_path / "state.safetensors", {"weight": torch.zeros(())}, {"nimg": 0, "loop": {}})
    trainee = Counter()
    run(trainee, tmp_path, kimg=0.5)
    assert trainee.shown == [0, 500]


def test_the_newest_state_is_never_older_than_the_pace_says(tmp_path: Path) -> None:
    clock, ages, last = Clock(0.25), [], [0.0]

    class Watched(Counter):
        def step(self) -> Mapping[str, Tensor]:
            ages.append(clock.now - last[0])
            return super().step()

        def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
            last[0] = clock.now
            return super().state()

    run(Watched(), tmp_path, kimg=20.0, clock=clock, pace=Pace(save_s=20, show_kimg=1000))
    assert max(ages) < 22


def test_a_step_that_is_no_number_goes_back_halves_the_rate_and_goes_on(tmp_path: Path) -> None:
    def once(trainee: Counter) -> bool:
        return trainee.nimg == 1500 and trainee.retries == 0

    events: list[Progress] = []
    trainee = Counter(once)
    outcome = run(trainee, tmp_path, kimg=3.0, progress=events.append)
    assert (outcome.nimg, outcome.rolled_back) == (3000, 1)
    assert trainee.lr == 0.5
    assert trainee.weight.isfinite()
    assert any("back to" in event.event for event in events)


def test_a_state_that_is_no_number_is_never_written(tmp_path: Path) -> None:
    def late(trainee: Counter) -> bool:
        return trainee.nimg >= 700 and trainee.retries < 2

    trainee = Counter(late)
    run(trainee, tmp_path, kimg=2.0, pace=Pace(save_s=3, check_s=1000, show_kimg=1.0))
    for path in tmp_path.glob("*.safetensors"):
        state = load_state(path)
        assert state is not None
        assert bool(state.tensors["weight"].isfinite())
    assert trainee.lr == 0.25


def test_weights_that_are_none_are_never_written_though_the_loss_is_a_number(tmp_path: Path) -> None:
    class Blind(Counter):
        """Its loss tells nothing of its weight."""

        def step(self) -> Mapping[str, Tensor]:
            super().step()
            return {"loss": torch.ones(())}

    trainee = Blind(lambda trainee: trainee.nimg >= 700 and trainee.retries < 2)
    run(trainee, tmp_path, kimg=2.0, pace=Pace(save_s=3, check_s=1, show_kimg=1.0))
    assert trainee.lr == 0.25
    for path in tmp_path.glob("*.safetensors"):
        state = load_state(path)
        assert state is not None
        assert bool(state.tensors["weight"].isfinite())


def test_the_halved_rate_survives_a_restart(tmp_path: Path) -> None:
    run(Counter(lambda trainee: trainee.nimg == 500 and trainee.retries == 0), tmp_path, kimg=1.0)
    second = Counter()
    outcome = run(second, tmp_path, kimg=2.0)
    assert second.lr == 0.5
    assert outcome.rolled_back == 1


def test_a_run_that_cannot_get_past_a_point_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="breaks down"):
        run(Counter(lambda trainee: trainee.nimg >= 1500), tmp_path, kimg=3.0)
    assert saved(tmp_path) <= 1400


def test_a_full_disk_ends_the_run_and_keeps_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.save_state

    def fill(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        if facts["nimg"] >= 1000:
            raise OutputError("the disk is full", where=str(path))
        real(path, tensors, facts)

    monkeypatch.setattr(module, "save_state", fill)
    with pytest.raises(OutputError, match="full"):
        run(Counter(), tmp_path, kimg=3.0)
    assert 0 <= saved(tmp_path) < 1000


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_two_steps_with_everything_saved(tmp_path: Path, kind: signal.Signals) -> None:
    if os.name == "nt" and kind == signal.SIGTERM:
        pytest.skip("Windows cannot send itself this signal")

    class Stopped(Counter):
        def step(self) -> Mapping[str, Tensor]:
            if self.nimg == 700:
                signal.raise_signal(kind)
            return super().step()

    before = signal.getsignal(kind)
    outcome = run(Stopped(), tmp_path, kimg=3.0)
    assert (outcome.reason, outcome.nimg) == ("signal", 800)
    assert saved(tmp_path) == 800
    assert signal.getsignal(kind) is before


def test_numbers_are_logged_as_means(tmp_path: Path) -> None:
    rows: list[tuple[int, dict[str, float]]] = []
    run(Counter(), tmp_path, kimg=2.0, log=lambda nimg, **numbers: rows.append((nimg, numbers)))
    losses = [numbers["loss"] for _, numbers in rows if "loss" in numbers]
    assert losses == sorted(losses)
    assert {"quality", "images_per_s"} <= {name for _, numbers in rows for name in numbers}
