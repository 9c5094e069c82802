"""`installation record`, in this process or as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from installation import opening
from installation.cli import filming
from installation.cli.options import parse_size
from installation.film import wish as wishes
from installation.film.recording import Recording
from installation.film.wish import Wish
from installation.output.video.manifest import read_segments

ROOT = Path(__file__).resolve().parents[2]
# A film of a few segments.
SHORT = {"frames": 130, "size": "96x96"}
WISH = Wish(
    size=None,
    fps="25",
    seconds=None,
    frames=None,
    loop=False,
    start_s=0.0,
    end_s=None,
    leader="0s",
    preset=None,
    fit=None,
    seed=None,
    out=None,
    threads=1,
)


def plan(show: Path, said: list[str] | None = None, *, size: str = "", **wish) -> Recording:
    """The Recording of a wish. said: takes what was said."""
    path, config = opening.load_show(str(show), {})
    return wishes.plan(
        path,
        config,
        replace(WISH, size=parse_size(size) if size else None, **wish),
        lambda changed: opening.open_session(path, changed, headless=True, verbose=False),
        [].append if said is None else said.append,
    )


def record(
    show: Path, *, resume: bool = False, keep: bool = False, workers: int = 0, executor: str = "local", **wish
) -> list[str]:
    """Makes the film; gives what was said."""
    said: list[str] = []
    recording = plan(show, said, **wish)
    filming.run(recording, resume=resume, keep=keep, workers=workers, executor=executor, say=said.append)
    return said


def started(*arguments: str | Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """A recording in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "installation", "record", *map(str, arguments)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_segments(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until a recording in a process of its own has closed so many."""
    folder = Path(f"{out}.segments")
    while not folder.is_dir() or len(read_segments(folder)) < count:
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
