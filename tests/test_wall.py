"""The wall's loop on a surface without a display, with a board that this test fills as an engine would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from installation.control.keyboard import KeyboardSource
from installation.engine.board import Board
from installation.output import stills
from installation.output.compositor import Compositor
from installation.output.headless import HeadlessSurface
from installation.output.pacing import Pacer
from installation.output.snapshots import Snapshots
from installation.resources import shaders_dir
from installation.show import recall
from installation.show.reading import load
from installation.show.state import first_state
from installation.wall import HISTORY, Wall, WallParts
from tests.show.shows import make_show
from tests.xserver import until

SIDE = 96


@dataclass
class Stage:
    wall: Wall
    board: Board
    surface: HeadlessSurface
    keyboard: KeyboardSource
    pictures: Path

    def frame(self, seed: int) -> np.ndarray:
        """One frame from the "engine"; gives what it holds."""
        pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
        pixels[..., 3] = 255
        self.board.begin_frame()[:] = pixels
        self.board.commit_frame(float(seed))
        return pixels

    def shown(self) -> np.ndarray:
        """The wall after one more turn."""
        self.wall.turn()
        return self.surface.read()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    show = load(Path(__file__).resolve().parents[1] / "show_configs" / "first_light.toml")
    board = Board.create(tmp_path / "board", width=SIDE, height=SIDE)
    surface = HeadlessSurface((SIDE, SIDE))
    keyboard = KeyboardSource(show.table())
    snapshots = Snapshots(tmp_path / "pictures")
    parts = WallParts(
        show=show,
        board=board,
        surface=surface,
        compositor=Compositor(surface.ctx, shaders_dir(), size=(SIDE, SIDE), history=HISTORY),
        pacer=Pacer(0.0),
        sources=[keyboard],
        keyboard=keyboard,
        preview=None,
        snapshots=snapshots,
        title=show.title,
    )
    yield Stage(Wall(parts, first_state(show), None), board, surface, keyboard, tmp_path / "pictures")
    snapshots.close()
    surface.close()
    board.close()


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a[..., :3].astype(int) - b[..., :3].astype(int)).max())


def test_a_picture_that_stands_is_sharp_again_after_the_window_grew(stage: Stage) -> None:
    stage.surface.size = (SIDE // 2, SIDE // 2)
    picture = stage.frame(1)
    assert stage.shown().shape[:2] == (SIDE // 2, SIDE // 2)
    stage.surface.size = (SIDE, SIDE)
    assert difference(stage.shown(), picture) <= 1  # the dither


def test_a_frame_that_is_being_written_over_is_not_taken_in_again(stage: Stage) -> None:
    stage.surface.size = (SIDE // 2, SIDE // 2)
    picture = stage.frame(1)
    stage.shown()
    for seed in range(2, 1 + stage.board.slots):
        stage.frame(seed)
    stage.wall._intake.take(0.0)
    stage.board.begin_frame()[:] = 255  # over frame 1
    stage.surface.size = (SIDE, SIDE)
    assert difference(stage.shown(), np.full_like(picture, 255)) > 100


def test_the_hud_names_the_model_that_is_shown_and_the_one_on_its_way(stage: Stage) -> None:
    show = make_show(models=[{"name": "people", "base": "b"}])
    wall = Wall(replace(stage.wall._parts, show=show), first_state(show), None)
    chosen = replace(wall.state, values={**wall.state.values, "model/select": "people"})
    assert wall._figures(wall.state)[0].endswith("model cascade")
    stage.board.put_model("cascade", None)
    assert wall._figures(chosen)[0].endswith("model cascade, people is being loaded")
    stage.board.put_model("people", None)
    assert wall._figures(chosen)[0].endswith("model people")


def test_the_wall_without_a_size_waits(stage: Stage) -> None:
    picture = stage.frame(1)
    stage.surface.size = (0, 0)
    assert not stage.wall.turn()
    stage.surface.size = (SIDE, SIDE)
    assert difference(stage.shown(), picture) <= 1


def test_a_snapshot_has_the_pictures_size_whatever_the_windows(stage: Stage) -> None:
    stage.surface.size = (SIDE // 3, SIDE // 3)
    picture = stage.frame(1)
    stage.wall.turn()
    stage.wall._press(("snapshot",))
    assert until(lambda: any(stage.pictures.glob("[!.]*.png")))
    (path,) = stage.pictures.glob("[!.]*.png")
    assert difference(iio.imread(path), picture) == 0


def test_a_snapshot_says_what_its_frame_was_drawn_from(stage: Stage) -> None:
    stage.frame(1)
    for _ in range(3):
        stage.wall.turn()
    drawn = stage.wall.state
    stage.board.begin_frame()[:] = 7
    stage.board.commit_frame(drawn.t)
    stage.keyboard.press("b")
    for _ in range(4):
        stage.wall.turn()
    assert stage.wall.state.t > drawn.t
    stage.wall._press(("snapshot",))
    assert until(lambda: any(stage.pictures.glob("[!.]*.png")))
    (path,) = stage.pictures.glob("[!.]*.png")
    text = stills.note(path, recall.NOTE)
    assert text is not None
    state = recall.recalled(text, stage.wall._parts.show, "here").state
    assert state.strands[-1].position == drawn.strands[-1].position
    assert state.t == stage.wall.state.t
    assert state.values["look/blackout"] is True
    assert state.value("look/blackout") == stage.wall.state.value("look/blackout")


def test_without_a_frame_a_snapshot_is_what_is_on_the_wall(stage: Stage) -> None:
    stage.wall.turn()
    stage.wall._press(("snapshot",))
    assert until(lambda: any(stage.pictures.glob("[!.]*.png")))
    (path,) = stage.pictures.glob("[!.]*.png")
    assert not iio.imread(path).any()


def test_warming_up_changes_nothing_on_the_wall(stage: Stage) -> None:
    turns = iter(range(4))
    stage.wall.run(lambda: next(turns, None) is None)
    assert stage.surface.read()[..., :3].max() <= 1
    picture = stage.frame(1)
    assert difference(stage.shown(), picture) <= 1


def test_the_hud_names_the_model_that_is_drawn_not_the_one_that_was_asked_for(stage: Stage) -> None:
    show = make_show(models=[{"name": "hills", "base": "y"}], params={"model": {"select": "hills"}})
    stage.wall._parts.show = show
    state = first_state(show)
    stage.board.put_model("cascade", None)
    assert stage.wall._figures(state)[0].endswith("model cascade, hills is being loaded")
    stage.board.put_model("hills", None)
    assert stage.wall._figures(state)[0].endswith("model hills")


def test_lost_snapshots_are_on_the_walls_line(stage: Stage) -> None:
    assert stage.wall._written() == []
    stage.wall._parts.snapshots.failed = 2
    assert stage.wall._written() == ["snapshots: 2 failed"]


def test_a_button_that_was_pressed_often_in_one_turn_is_one_snapshot(stage: Stage) -> None:
    stage.frame(1)
    stage.wall.turn()
    stage.wall._press(["snapshot"] * 100)
    assert until(lambda: any(stage.pictures.glob("[!.]*.png")))
    stage.wall._parts.snapshots.close()
    assert len(list(stage.pictures.glob("[!.]*.png"))) == 1
    assert stage.wall._parts.snapshots.refused == 0


def test_the_status_says_what_the_engine_does(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stage.wall.turn()
    status = stage.wall._parts.standing.status
    assert (status.show, status.pictures_per_s, status.age_s(), status.recording) == (
        stage.wall._parts.title,
        None,
        None,
        False,
    )
    for seed in range(1, 9):
        stage.frame(seed)
        now += 0.5
        stage.wall.turn()
    status = stage.wall._parts.standing.status
    assert status.pictures_per_s == pytest.approx(2.0)
    assert status.age_s() == 0.0
    assert status.model == stage.wall.state.values["model/select"]
    monkeypatch.setattr(stage.wall._playhead, "starved", lambda now: True)  # by the show's clock, which is not this one
    now += 4.0
    stage.wall.turn()
    assert stage.wall._parts.standing.status.age_s() == pytest.approx(4.0)
    assert stage.wall._parts.standing.status.pictures_per_s is None, "the engine is away"
