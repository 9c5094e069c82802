"""The keyboard of a technician at the wall, and a show whose devices and shaders are not as they should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from installation.resources import shaders_dir
from tests.e2e.running import running
from tests.xserver import Hand, until, xvfb

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with xvfb(640, 360) as server:
        yield server


@pytest.fixture(scope="module")
def wall(server, tmp_path_factory, show_text):
    text = show_text.replace("drift.speed = 2.0", "drift.speed = 0.5")
    with running(tmp_path_factory.mktemp("keys"), text, server=server) as run:
        run.wait_for_frames(10)
        yield run


@pytest.fixture
def hand(server, wall):
    hand = Hand(server.display)
    yield hand
    hand.release()


def test_space_pauses_and_goes_on(wall, hand):
    hand.press("space")
    assert until(lambda: wall.state().values["drift/pause"] is True)
    assert until(lambda: abs(wall.state().velocity.at(wall.state().t)) < 1e-3)
    hand.press("space")
    assert until(lambda: wall.state().values["drift/pause"] is False)


def test_up_and_down_change_the_drift(wall, hand):
    before = wall.state().values["drift/speed"]
    hand.press("Up")
    assert until(lambda: wall.state().values["drift/speed"] > before)
    hand.press("Down")
    assert until(lambda: wall.state().values["drift/speed"] == pytest.approx(before))


@pytest.mark.parametrize("key", ["n", "Right"])
def test_n_and_right_turn_to_the_next_portrait(wall, hand, key):
    before = wall.state().strands[-1].position
    hand.press(key)
    assert until(lambda: wall.state().strands[-1].position >= np.floor(before) + 1)
    assert until(lambda: len(wall.state().strands) == 1)


def test_b_is_blackout_and_back(wall, hand, server):
    hand.press("b")
    assert until(lambda: server.screenshot().max() <= 2)
    hand.press("b")
    assert until(lambda: server.screenshot().max() > 60)


def test_h_shows_figures_in_the_corner(wall, hand, server):
    hand.press("space")
    assert until(lambda: abs(wall.state().velocity.at(wall.state().t)) < 1e-6)
    corner = server.screenshot()[:60, :80]
    assert corner.max() <= 2  # the picture is square and stands in the middle
    hand.press("h")
    assert until(lambda: server.screenshot()[:60, :80].max() > 200)
    hand.press("h", "space")
    assert until(lambda: server.screenshot()[:60, :80].max() <= 2)


def test_s_saves_the_picture_without_the_figures(wall, hand):
    pictures = wall.folder / "Pictures" / "installation"
    hand.press("s")
    assert until(lambda: len(list(pictures.glob("*.png"))) == 1)
    frame = np.asarray(iio.imread(next(pictures.glob("*.png"))))
    assert frame.shape == (64, 64, 3)
    assert frame.std() > 5


def test_f_leaves_the_full_screen_and_takes_it_again(wall, hand, server):
    hand.press("f")
    assert until(lambda: (server.screenshot()[:, :20] <= 2).all())
    hand.press("f")
    wall.wait_for_frames(5)
    assert wall.process.poll() is None


def test_escape_once_goes_on_and_twice_ends(tmp_path, show_text):
    """On a screen of its own: keys go to the window that has the focus."""
    with xvfb(320, 180) as server, running(tmp_path, show_text, server=server) as run:
        run.wait_for_frames(5)
        hand = Hand(server.display)
        hand.press("Escape")
        pressed_s = run.state().t
        assert until(lambda: run.state().t > pressed_s + 1.5)
        assert run.process.poll() is None
        # GLFW takes a release and a press within 20 ms for the keyboard's own repeat.
        hand.press("Escape")
        pressed_s = run.state().t
        assert until(lambda: run.state().t > pressed_s + 0.1)
        hand.press("Escape")
        hand.release()
        assert until(lambda: run.process.poll() is not None)
        assert run.process.returncode == 0
        assert run.run_folder is not None
        assert not run.run_folder.exists()


def test_a_show_with_midi_plays_where_there_is_no_midi(tmp_path, show_text):
    pytest.importorskip("rtmidi", reason="the extra `midi` is not installed")
    show = show_text + "\n[midi]\nport = 'nanoKONTROL2'\n[[midi.map]]\nto = 'drift/speed'\ncc = 1\n"
    with running(tmp_path, show) as run:
        run.wait_for_frames(5)
        assert until(lambda: "midi" in run.log().lower())
        assert "Traceback" not in run.log()


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the program whose shaders may be spoilt."""
    root = Path(__file__).resolve().parents[2]
    shutil.copytree(root / "installation", tmp_path / "program" / "installation")
    for name in ("shaders", "show_configs", "checkpoints"):
        shutil.copytree(root / name, tmp_path / "program" / name)
    return tmp_path / "program"


def test_shaders_are_read_again_and_a_broken_one_keeps_the_old(checkout, server, tmp_path, show_text):
    assert (checkout / "shaders" / "mount.frag").read_text() == (shaders_dir() / "mount.frag").read_text()
    home = tmp_path / "home"
    home.mkdir()
    with running(home, show_text, server=server, program=checkout) as run:
        run.wait_for_frames(10)
        good = (checkout / "shaders" / "mount.frag").read_text()
        (checkout / "shaders" / "mount.frag").write_text(good.replace("}", "} nonsense", 1))
        assert until(lambda: "mount.frag" in run.log())
        run.wait_for_frames(20)
        assert server.screenshot().max() > 60
        black = good[: good.rindex("}")] + "out_color = vec4(0.0, 0.0, 0.0, 1.0);\n}\n"
        (checkout / "shaders" / "mount.frag").write_text(black.replace("out_color", output_name(good)))
        assert until(lambda: server.screenshot().max() <= 2)
        (checkout / "shaders" / "mount.frag").write_text(good)
        assert until(lambda: server.screenshot().max() > 60)


def output_name(source: str) -> str:
    """The name of the fragment shader's output."""
    import re

    found = re.search(r"out\s+vec4\s+(\w+)", source)
    assert found
    return found[1]


def test_a_shader_broken_from_the_start_is_one_clear_error(checkout, server, tmp_path, show_text):
    (checkout / "shaders" / "look.frag").write_text("void main() { nonsense }")
    home = tmp_path / "home"
    home.mkdir()
    with running(home, show_text, server=server, program=checkout) as run:
        assert run.process.wait(60) == 3
        assert "look.frag" in run.log()
        assert "Traceback" not in run.log()
