"""Axes and models on a running headless wall: packets in, pixels out, files that vanish."""

from __future__ import annotations

import io
import shutil
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from torch import Tensor

from installation.cli import filming
from installation.cli.record import of_take
from installation.film import making
from installation.film.recording import Recording
from installation.models import random_weights
from installation.output.video.look import FilmLook
from installation.render.film import FilmRenderer
from installation.render.renderer import Renderer
from installation.render.switch import fitted
from installation.resources import shaders_dir
from installation.show.picks import shares
from installation.show.state import ShowState
from tests.e2e.filming import WISH
from tests.e2e.networks import save
from tests.e2e.running import Running, command, running
from tests.output.video.pictures import decode
from tests.xserver import until

# The machine of a test may be busy with others; a gap that anyone would call one is longer.
LONGEST_GAP_S = 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """faces: 32 px. hills: 64 px, with a mapping so wide that its axes take a second or two to be found."""
    folder = tmp_path_factory.mktemp("models")
    for name, network in {
        "faces": random_weights.stylegan2(1),
        "hills": random_weights.stylegan2(2, z_dim=256, w_dim=256, mapping_layers=8, channels=[16, 16, 12, 8, 8]),
        "doomed": random_weights.stylegan2(3),
    }.items():
        save(folder / f"{name}.safetensors", network, network.state_dict())
    return folder


def show_text(folder: Path) -> str:
    return f"""
[cascade]
name = "faces"
base = '{folder / "faces.safetensors"}'
threads = 1
[[models]]
name = "hills"
base = '{folder / "hills.safetensors"}'
[[models]]
name = "doomed"
base = '{folder / "doomed.safetensors"}'
[[axes]]
name = "smile"
index = 0
[[axes]]
name = "light"
source = "sefa"
index = 0
layers = [2, 5]
[params]
drift.pause = true
latent.psi = 0.5
model.crossfade_s = 1.0
[screen]
size = [320, 180]
fps = 30
"""


@pytest.fixture(scope="module")
def wall(tmp_path_factory, folder):
    place = tmp_path_factory.mktemp("run")
    with running(place, show_text(folder), "--take", str(place / "take")) as run:
        run.wait_for_frames(5)
        yield run


def look(wall: Running) -> np.ndarray:
    """What the preview page shows now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{wall.preview_port}/frame.jpg", timeout=60) as reply:
        return np.asarray(iio.imread(io.BytesIO(reply.read()))).astype(int)


def gaps(wall: Running, ended, seconds: float = 60.0) -> tuple[float, float, int]:
    """Longest time without a new picture of the engine and without a turn of the wall, s, until `ended`; and how many
    pictures the engine made."""
    board = wall.meet()
    first, marks = board.newest(), [(board.newest(), board.pulse("wall").count)]
    seen = [time.monotonic()] * 2
    longest = [0.0, 0.0]
    deadline = time.monotonic() + seconds
    while not ended():
        now = time.monotonic()
        assert now < deadline, wall.log()
        mark = (board.newest(), board.pulse("wall").count)
        for i in (0, 1):
            if mark[i] != marks[-1][i]:
                longest[i], seen[i] = max(longest[i], now - seen[i]), now
        marks.append(mark)
        time.sleep(0.005)
    return longest[0], longest[1], board.newest() - first


@pytest.mark.parametrize("axis", ["smile", "light"])
def test_a_packet_to_an_axis_changes_pixels_and_its_norm_brings_them_back(wall, axis):
    rest = look(wall)
    wall.say(f"/installation/axis/{axis}", "3", "0")
    assert until(lambda: np.abs(look(wall) - rest).mean() > 2), wall.log()
    wall.say(f"/installation/axis/{axis}/norm", "0.5", "0")
    assert until(lambda: np.abs(look(wall) - rest).mean() < 0.5)


def test_the_axes_are_kept_beside_the_checkpoint(wall, folder):
    assert (folder / "faces.axes.safetensors").is_file()


@pytest.mark.slow
def test_models_are_swapped_without_a_gap_and_what_is_gone_leaves_the_old_one(wall, folder):
    """In one show, because that is how it goes: over to another size and back, a file deleted, an engine killed."""
    rest = look(wall)
    wall.say("/installation/drift/pause", "false")
    wall.say("/installation/model/select", "hills")
    engine_s, wall_s, made = gaps(wall, lambda: "the model on the wall: hills" in wall.log())
    fading_s, wall_fading_s, _ = gaps(wall, lambda: np.abs(look(wall) - rest).mean() > 5)
    assert made >= 3
    assert max(engine_s, fading_s) < LONGEST_GAP_S
    assert max(wall_s, wall_fading_s) < LONGEST_GAP_S

    (folder / "doomed.safetensors").unlink()
    wall.say("/installation/model/select", "doomed")
    engine_s, wall_s, _ = gaps(wall, lambda: "the model doomed cannot be shown, hills stays" in wall.log())
    assert max(engine_s, wall_s) < LONGEST_GAP_S
    wall.wait_for_frames(10)
    assert wall.log().count("doomed cannot be shown") == 1
    assert until(lambda: wall.state().values["model/select"] == "hills", 10)
    pid = wall.kill("engine")
    wall.wait_for_another("engine", pid)
    wall.wait_for_frames(5)
    assert "engine: hills: stylegan2 64" in wall.log()
    wall.say("/installation/model/select", "faces", "0")
    assert until(lambda: "the model on the wall: faces" in wall.log()), wall.log()

    take = shutil.copytree(wall.folder / "take", wall.folder / "until now")
    wish = replace(WISH, fps="2", preset="png", out=wall.folder / "film")
    recording = of_take(take, None, wish)
    assert recording.shown == ("faces", "hills")
    assert [name for name, _ in recording.session.refused] == ["doomed"]
    filming.run(recording, resume=False, keep=False, workers=1, executor="local", say=lambda line: None)
    film = [np.stack(decode(file).planes[0], axis=-1) for file in sorted(recording.out.iterdir())]
    assert len(film) == recording.frames
    assert alone(recording, film) == {"faces", "hills"}


class Alone(Renderer):
    """One model by itself, its pictures as large as those of the show's largest."""

    def img(self, state: ShowState) -> Tensor:
        return fitted(super().img(state), (64, 64))


def alone(recording: Recording, film: list[np.ndarray]) -> set[str]:
    """Draws each frame of one model again, by that model's own renderer, and compares. The models that were compared."""
    session = recording.session
    seen = set()
    look = FilmLook(session.show, recording.spec, recording.picture, shaders_dir())
    renderers = {}
    for name in ("faces", "hills"):
        one = Alone.open(session.show, session.files[name][0], (), model=name)
        one.size = session.size
        renderers[name] = FilmRenderer(one, recording.picture)
    light = np.empty((*recording.picture[::-1], 4), np.float16)
    for state, frame in zip(making._states(recording, lambda tick: (), None), film, strict=True):
        assert state is not None
        mixed = shares(state.picks["model/select"], state.t)
        if len(mixed) > 1:
            continue
        name = str(state.values["model/select"])
        apart = {}
        for other, renderer in renderers.items():
            renderer.draw(state, light)
            expected = np.empty_like(frame)
            look.draw(state, light, expected)
            apart[other] = float(np.abs(frame.astype(float) - expected).mean() / 257)
        assert apart[name] < 0.1, apart
        assert max(apart.values()) > 10, apart
        seen.add(name)
    look.close()
    return seen


def test_a_model_that_is_not_there_is_said_before_the_show_begins(tmp_path, folder):
    text = show_text(folder).replace(str(folder / "hills.safetensors"), "hillz")
    (tmp_path / "show.toml").write_text(text)
    done = command(tmp_path, "run", str(tmp_path / "show.toml"))
    assert done.returncode == 5
    assert "models[0]" in done.stderr
    assert "installation models add hillz.pkl" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shows_own_rows_are_listed(tmp_path, folder):
    (tmp_path / "show.toml").write_text(show_text(folder))
    done = command(tmp_path, "params", "--show", str(tmp_path / "show.toml"), "--format", "markdown")
    assert "`/installation/axis/smile`" in done.stdout
    assert "faces, hills, doomed" in done.stdout


def test_the_shell_completes_the_addresses_of_a_shows_own_axes(tmp_path, folder, monkeypatch):
    from installation.cli.app import _addresses

    (tmp_path / "mine.toml").write_text(show_text(folder))
    (tmp_path / "pyproject.toml").write_text("[tool]\n")
    monkeypatch.chdir(tmp_path)
    assert _addresses("/installation/axis/sm") == ["/installation/axis/smile"]
    assert "/installation/style/mix" in _addresses("/installation/st")
