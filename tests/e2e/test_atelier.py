"""The whole way as an artist goes it: photographs, one command, killed in the middle and given again, and a show that can be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.training.data.extra import installed
from installation.training.run_info import list_runs
from tests.cli.test_app import command, refused
from tests.e2e.running import home as places
from tests.xserver import until, xvfb

ROOT = Path(__file__).resolve().parents[2]
FACES = 60
SMALL = {
    "base.size": "32",
    "base.channels": "16,16,16,16",
    "base.critic_channels": "16,16,16,16",
    "base.z_dim": "16",
    "base.w_dim": "16",
    "base.batch": "8",
    "base.show_kimg": "1000",
    "stage.widths": "8,12",
    "stage.blocks": "0,1",
    "stage.critic_widths": "8,12,16",
    "stage.batch": "4",
    "stage.perceptual": "0",
    "stage.show_kimg": "1000",
}
WORDS = [
    "--n",
    "50",
    "--no-text",
    "--device",
    "cpu",
    *(word for pair in SMALL.items() for word in ("--set", "=".join(pair))),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artist")
    (folder / "here").mkdir()
    return folder


@pytest.fixture(scope="module")
def photographs(shared_dir: Path, home: Path) -> Path:
    """60 studio portraits of different people, and what else lies about in such a folder."""
    if not installed("facenet-pytorch") or not installed("ImageHash"):
        pytest.skip("the extra `data` is not installed")
    if sys.platform == "win32":
        pytest.skip("a process cannot be killed as by kill -9 there")
    folder = home / "photographs"
    folder.mkdir()
    for path in sorted((shared_dir / "data" / "portraits_congress").glob("*.jpg"))[::14][:FACES]:
        shutil.copy(path, folder)
    (folder / "notes.txt").write_text("nothing to see")
    return folder


@pytest.fixture(scope="module")
def begun(photographs: Path, home: Path) -> Path:
    """Where the command was killed as soon as it had trained a little."""
    out = home / "out"
    first = subprocess.Popen(
        [sys.executable, "-m", "installation", "atelier", str(photographs), "-o", str(out), *WORDS, "--kimg", "1000"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stderr is not None
        assert any(" kimg " in line for line in iter(first.stderr.readline, "")), first.communicate()
    finally:
        first.kill()
        first.communicate()
    return out


@pytest.fixture(scope="module")
def finished(begun: Path, photographs: Path, home: Path) -> str:
    """What the same command said when it was given again, with an end."""
    done = command(home, "atelier", str(photographs), "-o", str(begun), *WORDS, "--kimg", "0.1", timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_kill_leaves_what_was_made(begun: Path) -> None:
    assert (begun / "faces32.safetensors").exists()
    assert [run.name for run in list_runs(begun / "runs")] == ["base"]


@pytest.mark.slow
def test_the_same_command_goes_on_to_two_judged_networks(begun: Path, finished: str) -> None:
    assert "scanning" not in finished
    assert "freezing" not in finished
    runs = {run.name: run for run in list_runs(begun / "runs")}
    assert set(runs) == {"base", "stage"}
    judgements = {name: run.judgement for name, run in runs.items()}
    assert judgements["base"] is not None
    assert judgements["stage"] is not None
    assert "steadiness" in judgements["stage"].numbers


@pytest.mark.slow
def test_the_show_can_be_seen(begun: Path, finished: str, home: Path) -> None:
    seen = command(home, "still", str(begun / "show.toml"), "--at", "3", "-o", "it.png", timeout=280)
    assert seen.returncode == 0, seen.stderr
    with Image.open(home / "here" / "it.png") as picture:
        frame = np.asarray(picture.convert("RGB"))
    assert frame.shape[0] in (64, 128)
    assert frame.std() > 2


@pytest.mark.slow
def test_the_same_command_puts_it_on_the_wall(begun: Path, finished: str, photographs: Path, home: Path) -> None:
    words = ["atelier", str(photographs), "-o", str(begun), *WORDS, "--kimg", "0.1", "--run"]
    with xvfb(320, 180) as server:
        show = subprocess.Popen(
            [sys.executable, "-m", "installation", *words],
            env={**server.environment(), **places(home), "PYTHONPATH": str(ROOT), "TERM": "dumb"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert until(lambda: show.poll() is not None or server.screenshot()[:, 70:250].std() > 2, 120)
            first = server.screenshot()
            assert first[:, :60].max() <= 2  # the picture is square and stands in the middle
            assert until(lambda: bool((server.screenshot() != first).any()))
            show.terminate()
            said, _ = show.communicate(timeout=60)
        finally:
            show.kill()
            show.wait()
    assert show.returncode == 0, said
    assert "base: Q" in said


@pytest.mark.slow
def test_a_folder_begun_with_other_pictures_is_left_alone(begun: Path, finished: str, home: Path) -> None:
    refused(home, 2, "other pictures", "atelier", str(home / "here"), "-o", str(begun), *WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--n", "60"], ["--licence", "photographs=CC0"]])
def test_other_options_for_what_is_made_already_are_refused(
    begun: Path, finished: str, photographs: Path, home: Path, words: list[str]
) -> None:
    given = [*WORDS, *words]
    refused(home, 2, f"another {words[0]}", "atelier", str(photographs), "-o", str(begun), *given, "--kimg", "0.1")


@pytest.mark.slow
def test_a_folder_with_few_faces_says_why_and_what_to_do(home: Path) -> None:
    folder = home / "few"
    folder.mkdir()
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "one.png")
    done = command(home, "atelier", str(folder), "-o", "out", *WORDS)
    assert done.returncode == 6, done.stderr
    assert "only 0 faces" in done.stderr
    assert "Traceback" not in done.stderr
    empty = home / "texts"
    empty.mkdir()
    (empty / "a.txt").write_text("words")
    done = command(home, "atelier", str(empty), "-o", "out2", *WORDS)
    assert (done.returncode, "none of the 1 files is a picture" in done.stderr) == (6, True), done.stderr
