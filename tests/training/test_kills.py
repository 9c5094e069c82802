"""kill -9 in the middle of training a stage, of freezing a kit and of judging; the same command again makes what would have been made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from installation.training.judge.kit import open_kit
from installation.training.run_info import read_run
from installation.training.runs import EXPORT_NAME, STATE_NAME
from installation.training.state import load_state
from tests.training.base.conftest import pack_discs
from tests.training.stage.conftest import TINY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's"),
]
ROOT = Path(__file__).resolve().parents[2]


def command(*words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "installation", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed(when: Callable[[], bool], *words: object) -> None:
    """The command, killed as soon as `when`; a failure if it ended before."""
    process = command(*words)
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def done(*words: object) -> str:
    process = command(*words)
    text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    return text


def test_a_stage_goes_on_from_its_last_state(tmp_path: Path) -> None:
    dataset, run = pack_discs(tmp_path / "discs.safetensors", 64), tmp_path / "up"
    words = ["train", "stage", dataset, run, "--scale", "2", "--device", "cpu"]
    words += [word for pair in TINY.items() for word in ("--set", "=".join(pair))]
    killed(lambda: (run / STATE_NAME).exists() and read_run(run).nimg > 0, *words, "--kimg", "1000")
    state = load_state(run / STATE_NAME)
    assert state is not None
    before = int(state.facts["nimg"])
    done(*words, "--kimg", (before + 40) / 1000)
    state = load_state(run / STATE_NAME)
    assert state is not None
    assert before + 40 <= int(state.facts["nimg"]) < before + 80
    assert (run / EXPORT_NAME).exists()


def test_a_kit_and_a_judgement_are_whole_or_not_there(tmp_path: Path) -> None:
    dataset, kit, run = pack_discs(tmp_path / "discs.safetensors"), tmp_path / "kit", tmp_path / "base"
    small = {"size": "32", "channels": "16,16,16,16", "critic_channels": "16,16,16,16", "z_dim": "16", "w_dim": "16"}
    sets = [word for pair in {**small, "batch": "8"}.items() for word in ("--set", "=".join(pair))]
    done("train", "base", dataset, run, "--kimg", "0.05", "--device", "cpu", *sets)
    freeze = ["judge", "kit", dataset, kit, "--n", "60", "--held-out", "0.3"]
    killed(lambda: kit.exists(), *freeze)
    done(*freeze)
    assert open_kit(kit).n == 60
    began = time.monotonic()
    killed(lambda: time.monotonic() > began + 2.5, "judge", "base", kit, run)
    assert not read_run(run).judgements
    assert "Q " in done("judge", "base", kit, run)
    assert len(read_run(run).judgements) == 1
