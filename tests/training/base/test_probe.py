"""The probe measures candidates within its time and picks the fastest."""

from __future__ import annotations

import itertools

import pytest
import torch

from installation.training.base import probe as module
from installation.training.base.config import BaseConfig, resolve
from installation.training.base.plan import Plan
from installation.training.base.probe import Row, probe


@pytest.fixture
def config(small: dict[str, str]) -> BaseConfig:
    return resolve("tiny", small)


def test_it_really_trains_and_names_the_fastest(config: BaseConfig) -> None:
    ticks = itertools.count()
    # A clock that counts how often it is read: a busy machine has no part in what is tried.
    result = probe(config, torch.device("cpu"), seconds=300.0, clock=lambda: float(next(ticks)))
    assert len(result.rows) == 3
    fastest = max(result.rows, key=lambda row: row.images_per_s)
    assert result.best == fastest.plan
    assert fastest.images_per_s > 0
    assert result.seconds < 300


def test_the_table_marks_the_choice(config: BaseConfig) -> None:
    result = probe(config, torch.device("cpu"), seconds=1.0)
    marked = [line for line in result.table().splitlines() if line.lstrip().startswith("*")]
    assert len(marked) == 1
    assert f" {result.best.micro} " in marked[0]


def test_where_a_batch_does_not_fit_smaller_passes_are_tried(
    config: BaseConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(config: BaseConfig, plan: Plan, *args: object) -> Row:
        return Row(plan, 10.0) if plan.micro <= 2 else Row(plan, 0.0, note="out of memory")

    monkeypatch.setattr(module, "measure", measure)
    result = probe(config, torch.device("cpu"))
    assert result.best.micro == 2
    assert "out of memory" in result.table()


@pytest.mark.parametrize(("compiled_speed", "chosen"), [(100.0, True), (52.0, False), (0.0, False)])
def test_compilation_must_be_worth_it(
    config: BaseConfig, monkeypatch: pytest.MonkeyPatch, compiled_speed: float, chosen: bool
) -> None:
    monkeypatch.setattr(
        module, "measure", lambda config, plan, *args: Row(plan, compiled_speed if plan.compiled else 50.0)
    )
    assert probe(config, torch.device("cuda")).best.compiled is chosen


def test_time_is_kept(config: BaseConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def slow(config: BaseConfig, plan: Plan, *args: object) -> Row:
        now[0] += 45.0
        return Row(plan, 50.0)

    monkeypatch.setattr(module, "measure", slow)
    assert len(probe(config, torch.device("cuda"), clock=lambda: now[0]).rows) == 1
