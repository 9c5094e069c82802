"""Runs in processes of their own: killed at any moment, and two that train as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from installation.training.base.train import train_base
from installation.training.runs import STATE_NAME
from installation.training.state import load_state

_RUN = """
import sys
from pathlib import Path
from installation.training.base.train import train_base
from installation.training.loop import Pace

if __name__ == "__main__":
    data, out, kimg, save_s, *pairs = sys.argv[1:]
    outcome = train_base(
        Path(data), Path(out), kimg=float(kimg), device="cpu", overrides=dict(pair.split("=") for pair in pairs),
        pace=Pace(save_s=float(save_s), show_kimg=1000.0),
    )
    print("ended at", outcome.nimg)
"""


def command(folder: Path, data: Path, small: dict[str, str], *, kimg: float, save_s: float) -> list[str]:
    """What to give a Python to train in folder/run."""
    script = folder / "run.py"
    script.write_text(_RUN)
    pairs = [f"{key}={value}" for key, value in small.items()]
    return [str(script), str(data), str(folder / "run"), str(kimg), str(save_s), *pairs]


def launch(arguments: list[str]) -> tuple[int, str]:
    """Train with two processes; (exit code, what they wrote to stderr). None of them is left."""
    code, _, stderr = launch_heard(arguments)
    return code, stderr


def launch_heard(arguments: list[str]) -> tuple[int, str, str]:
    """As `launch`: (exit code, stdout, stderr)."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=90)
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
    return process.returncode, stdout, stderr


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[3])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


def nimg(folder: Path) -> int:
    state = load_state(folder / "run" / STATE_NAME)
    return -1 if state is None else int(state.facts["nimg"])


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_goes_on(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    """Killed without warning, while it writes a state every few steps; then left alone."""
    arguments = command(tmp_path, disc_data, small, kimg=1.2, save_s=0.0)
    reached = [-1]
    for _ in range(3):
        process = subprocess.Popen([sys.executable, *arguments], env=environment())
        try:
            deadline = time.monotonic() + 60
            while nimg(tmp_path) < reached[-1] + 40 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        reached.append(nimg(tmp_path))
        assert reached[-1] > reached[-2]
    answer = subprocess.run(
        [sys.executable, *arguments], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.stdout.strip() == "ended at 1200", answer.stderr
    assert not list((tmp_path / "run").glob("*.part"))


@pytest.mark.slow
def test_two_processes_train_as_one(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    """The same 12 steps: alone, and as two processes that share each batch and sum their gradients."""
    small = {**small, "augment_kimg": "0"}
    train_base(disc_data, tmp_path / "alone", kimg=0.096, device="cpu", overrides=small)
    arguments = command(tmp_path, disc_data, small, kimg=0.096, save_s=60)
    code, stderr = launch(arguments)
    assert code == 0, stderr[-3000:]
    alone, together = load_state(tmp_path / "alone" / STATE_NAME), load_state(tmp_path / "run" / STATE_NAME)
    assert alone is not None
    assert together is not None
    assert together.facts["count"] == alone.facts["count"] == 12
    for name, tensor in alone.tensors.items():
        # The relativistic loss does not feel the logits' common offset: its gradient is rounding, which Adam makes steps of.
        if "critic.out.bias" not in name and "critic_v.out.bias" not in name:
            assert torch.allclose(together.tensors[name], tensor, rtol=2e-3, atol=2e-4), name


@pytest.mark.slow
def test_one_process_goes_on_where_two_were(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    small = {**small, "augment_kimg": "0"}
    code, stderr = launch(command(tmp_path, disc_data, small, kimg=0.048, save_s=60))
    assert code == 0, stderr[-3000:]
    train_base(disc_data, tmp_path / "run", kimg=0.096, device="cpu", overrides=small)
    state = load_state(tmp_path / "run" / STATE_NAME)
    assert state is not None
    assert (state.facts["nimg"], state.facts["processes"]) == (96, 1)
    assert state.facts["plan"]["micro"] == int(small["batch"])


_PROBE = """
import itertools, json, sys
import torch
from installation.training.base.config import resolve
from installation.training.base.probe import probe
from installation.training.team import assemble

if __name__ == "__main__":
    device = torch.device("cpu")
    with assemble(device) as team:
        ticks = itertools.count()
        # The second one's clock goes four times as fast: it measures less often.
        clock = lambda: float(next(ticks)) * (1 + 3 * team.rank)
        probe(resolve("tiny", json.loads(sys.argv[1])), device, seconds=300.0, alone=False, clock=clock)
        team.wait()
"""


@pytest.mark.slow
def test_each_process_probes_by_its_own_clock(small: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(_PROBE)
    code, stderr = launch([str(script), json.dumps(small)])
    assert code == 0, stderr[-3000:]


@pytest.mark.slow
def test_two_processes_need_a_batch_they_can_share(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    arguments = command(tmp_path, disc_data, {**small, "batch": "7"}, kimg=0.1, save_s=60)
    code, stderr = launch(arguments)
    assert code != 0
    assert "cannot be shared by 2 processes" in stderr


@pytest.mark.slow
def test_of_two_processes_one_speaks(disc_data: Path, small: dict[str, str], tmp_path: Path) -> None:
    sets = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    words = ["train", "base", str(disc_data), str(tmp_path / "run"), "--kimg", "0.016", "--device", "cpu", *sets]
    code, stdout, stderr = launch_heard(["-m", "installation", *words])
    assert code == 0, stderr[-3000:]
    assert stdout.splitlines() == ["0.0 kimg: that is all of --kimg"]
