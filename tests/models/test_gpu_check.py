"""benchmarks/gpu_check.py as far as a machine without CUDA can run it: its rows on the CPU, and that it notices what it is there for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from benchmarks import gpu_check, pairs
from installation.models import random_weights
from installation.models.cascade import Cascade


def test_a_row_holds_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    networks = random_weights.stylegan2(), [random_weights.srvgg(unit_range=True)]
    assert gpu_check.check("small", networks, "cpu", repeats=1)
    name, *numbers, result = capsys.readouterr().out.split()
    assert (name, len(numbers), result) == ("small", 6, "ok")


def test_a_show_in_which_all_moves_holds_on_the_cpu() -> None:
    assert (
        gpu_check.show_faults("cpu", random_weights.stylegan2(c_dim=4), [random_weights.srvgg(unit_range=True)]) == []
    )


def test_another_picture_and_waiting_are_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def watched(device: str) -> Iterator[None]:
        yield
        raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(gpu_check, "never_waiting", watched)
    honest = Cascade.__call__

    def spoilt(self: Cascade, ws: torch.Tensor, transform: torch.Tensor | None = None) -> torch.Tensor:
        return honest(self, ws, transform) * (1.1 if self._graph else 1.0)

    monkeypatch.setattr(Cascade, "__call__", spoilt)
    assert not gpu_check.check("small", (random_weights.dcgan(), []), "cpu", repeats=1)
    said = capsys.readouterr().out
    assert "graph differs from eager" in said
    assert "eager, the host waits for the device (called a synchronizing CUDA operation)" in said
    (fault,) = gpu_check.show_faults("cpu", random_weights.stylegan2(c_dim=4), [])
    assert fault.startswith("picture 0: the host waits")


def test_every_family_has_a_row() -> None:
    rows = gpu_check.cases()
    assert all(any(row.startswith(f"{name} ") for row in rows) for name in pairs.FAMILIES)


def test_what_ships_has_rows_of_its_own() -> None:
    rows = gpu_check.cases()
    for model in ("portraits", "hd", "archive"):
        generator, stages = rows[f"portraits: {model}"]()
        assert Cascade(generator, stages, device="cpu").size == (1024, 1024)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with CUDA it would check in earnest, for minutes")
def test_without_cuda_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    assert gpu_check.main() == 0
    assert "Nothing was checked" in capsys.readouterr().out
