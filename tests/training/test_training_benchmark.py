"""benchmarks/training.py as far as a machine without CUDA can run it."""

from __future__ import annotations

import sys

import pytest

from benchmarks import training


@pytest.mark.slow
def test_whole_runs_hold_on_the_cpu_and_a_broken_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "speeds", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["training", "--device", "cpu"])
    assert training.main() == 0
    said = capsys.readouterr().out
    assert said.count(" ok\n") == 2
    assert "all checks hold" in said

    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("Expected a torch.device with a specified index")

    monkeypatch.setattr(training, "train_stage", broken)
    assert training.main() == 1
    assert "ValueError: Expected a torch.device" in capsys.readouterr().out
