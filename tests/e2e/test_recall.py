"""A snapshot of a running wall, drawn again from what stands in its file."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from tests.e2e.running import command, running
from tests.xserver import until

pytestmark = pytest.mark.slow


def test_a_snapshot_of_a_moving_wall_is_drawn_again(tmp_path: Path, show_text: str) -> None:
    with running(tmp_path, show_text, "--headless") as wall:
        wall.wait_for_frames(3)
        wall.say("/installation/latent/psi", "0.4", "1")
        wall.say("/installation/look/select", "silver")
        wall.say("/installation/look/brightness", "0.8", "3")
        wall.say("/installation/snapshot")
        folder = tmp_path / "Pictures" / "installation"
        assert until(lambda: any(folder.glob("[!.]*.png")))
    (snapshot,) = folder.glob("[!.]*.png")
    show, again, large = (str(tmp_path / name) for name in ("show.toml", "again.png", "large.png"))
    done = command(tmp_path, "still", show, "--like", str(snapshot), "-o", again)
    assert done.returncode == 0, done.stderr
    then, now = (np.asarray(iio.imread(path), int) for path in (snapshot, again))
    assert then.std() > 5
    assert np.abs(then - now).max() <= 2
    done = command(tmp_path, "still", show, "--like", again, "-o", large, "--size", "128x128")
    assert done.returncode == 0, done.stderr
    # Enlarging smooths the finest of these random pictures, so the mean of four is not the pixel; but it is this picture and no other.
    half = np.asarray(iio.imread(large), float).reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.corrcoef(half.ravel(), then.ravel())[0, 1] > 0.9


def test_a_picture_that_says_nothing_is_refused(tmp_path: Path, show_text: str) -> None:
    (tmp_path / "show.toml").write_text(show_text, encoding="utf-8")
    iio.imwrite(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    done = command(tmp_path, "still", str(tmp_path / "show.toml"), "--like", str(tmp_path / "a.png"))
    assert done.returncode == 2
    assert "does not say what made it" in done.stderr
