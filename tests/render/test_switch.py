"""Models swapped while pictures are made: what is drawn, and what stays when a file is broken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import EngineError, InstallationError, ModelError
from installation.models import checkpoint, random_weights
from installation.models.network import Network
from installation.render import switch as switch_module
from installation.render.renderer import Renderer
from installation.render.switch import Switch, fitted
from installation.show.clock import FrameClock
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.reading import parse
from installation.show.state import ShowState, first_state
from installation.show.step import step

FPS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, network in {
        "a": random_weights.stylegan2(1),
        "b": random_weights.stylegan2(2),
        "small": random_weights.stylegan2(3, channels=[12, 8]),
        "tall": random_weights.stylegan2(4, base=[4, 2]),
    }.items():
        save(folder / f"{name}.safetensors", network)
    hot = random_weights.dcgan(1)
    tensors = {name: tensor.clone() for name, tensor in hot.state_dict().items()}
    tensors["layers.0.norm.weight"] *= 1e38
    tensors["layers.1.norm.weight"] *= 1e-38
    checkpoint.save(folder / "hot.safetensors", tensors, checkpoint.describe(hot, name="hot"))
    (folder / "broken.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:-7])
    return folder


def save(path: Path, network: Network) -> None:
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name=path.stem))


NAMES = ("b", "small", "tall", "hot", "broken", "gone")


class Evening:
    """A show played tick by tick through a Switch."""

    def __init__(self, folder: Path, *, first: str | None = None, wait: bool = False, tell=None, **params) -> None:
        tree = {
            "cascade": {"base": "a", "name": "a", "threads": 1},
            "models": [{"name": name, "base": name} for name in NAMES],
            "params": {"model": {"crossfade_s": 1.0}, "latent": {"psi": 1.0}, **params},
        }
        self.show: Show = parse(tree, where="test", folder=folder)
        self.files = {name: (folder / f"{name}.safetensors",) for name in ("a", *NAMES)}
        tell = tell or (lambda shown, refused: None)
        self.switch = Switch(self.show, self.files, (32, 32), first=first, wait=wait, tell=tell)
        self.clock, self.state = FrameClock(FPS), first_state(self.show)

    def turn(self, *said: ControlMessage) -> np.ndarray:
        self.state = step(self.state, said, self.clock.tick(), self.show)
        frame = np.zeros((32, 32, 4), np.uint8)
        self.switch.draw(self.state, frame)
        return frame[..., :3].astype(int)

    def select(self, name: str, ramp_s: float | None = None) -> np.ndarray:
        return self.turn(ControlMessage("model/select", name, ramp_s))

    def loaded(self) -> None:
        """Until the model on its way is there."""
        loading = self.switch._loading
        assert loading is not None
        loading.thread.join(60)

    def alone(self, name: str) -> np.ndarray:
        """What the model by itself makes of the state."""
        renderer = Renderer.open(self.show, self.files[name][0], (), model=name)
        img = fitted(renderer.img(self.state), (32, 32))
        return np.clip(np.rint(img[0].numpy() * 127.5 + 127.5), 0, 255).transpose(1, 2, 0).astype(int)


@pytest.fixture
def evening(folder) -> Iterator[Evening]:
    evening = Evening(folder)
    yield evening
    evening.switch.close()


def test_the_old_model_draws_until_the_new_one_is_ready_and_then_they_melt(evening, monkeypatch):
    gate = threading.Event()
    opened = Switch._open
    monkeypatch.setattr(Switch, "_open", lambda self, name: (gate.wait(60), opened(self, name))[1])
    evening.select("b")
    for _ in range(30):  # far longer than the crossfade
        assert np.abs(evening.turn() - evening.alone("a")).max() <= 1
    gate.set()
    evening.loaded()
    frames = [evening.turn() for _ in range(FPS + 2)]
    assert np.abs(frames[-1] - evening.alone("b")).max() <= 1
    moved = np.abs(np.diff(np.array(frames), axis=0)).mean(axis=(1, 2, 3))
    assert moved.max() < 0.5 * np.abs(frames[-1] - frames[0]).mean()
    assert list(evening.switch._renderers) == ["b"]


@pytest.mark.parametrize("name", ["broken", "gone", "hot"])
def test_what_cannot_be_shown_is_one_line_and_the_old_model_stays(evening, name, caplog):
    with caplog.at_level(logging.WARNING):
        evening.select(name)
        for _ in range(3):
            evening.loaded() if evening.switch._loading else None
            assert np.abs(evening.turn() - evening.alone("a")).max() <= 1
        for _ in range(FPS):
            evening.turn()
    assert len(caplog.records) == 1
    assert f"the model {name} cannot be shown, a stays" in caplog.text
    evening.select("b", 0.0)
    evening.loaded()
    assert np.abs(evening.turn() - evening.alone("b")).max() <= 1


def test_what_is_drawn_and_what_was_refused_is_told(folder):
    told: list[tuple[str, tuple[str, float] | None]] = []
    evening = Evening(folder, tell=lambda *said: told.append(said))
    for name in ("broken", "b"):
        evening.select(name, 0.0)
        chosen_s = evening.state.t
        evening.loaded()
        evening.turn()
        if name == "broken":
            refused_s = chosen_s
    assert told == [("a", None), ("a", ("broken", refused_s)), ("b", ("broken", refused_s))]


def test_models_are_proved_before_they_are_wanted(folder):
    switch = Evening(folder, wait=True).switch
    state = first_state(switch._show)
    switch.prove(("a", "b", "small"), state)
    assert list(switch._renderers) == ["a"]
    for name in ("broken", "gone", "hot"):
        with pytest.raises(InstallationError, match=name if name != "hot" else "NaN"):
            switch.prove((name,), state)
    switch._files = {"a": switch._files["a"]}
    with pytest.raises(ModelError, match="the model b: its networks are not on this machine"):
        switch.prove(("b",), state)


def test_a_file_that_was_mended_is_shown_when_it_is_chosen_again(folder, tmp_path):
    evening = Evening(folder)
    evening.files["gone"] = (tmp_path / "gone.safetensors",)
    evening.select("gone")
    evening.loaded()
    evening.turn()
    save(tmp_path / "gone.safetensors", random_weights.stylegan2(9))
    evening.turn()
    assert evening.switch._loading is None
    evening.select("gone", 0.0)
    evening.loaded()
    assert np.abs(evening.turn() - evening.alone("gone")).max() <= 1


def test_the_running_models_file_may_vanish(folder, tmp_path):
    evening = Evening(folder)
    evening.files["b"] = (tmp_path / "b.safetensors",)
    save(tmp_path / "b.safetensors", random_weights.stylegan2(2))
    evening.select("b", 0.0)
    evening.loaded()
    before = evening.turn()
    (tmp_path / "b.safetensors").unlink()
    assert np.abs(evening.turn() - before).mean() < 20
    assert list(evening.switch._renderers) == ["b"]


def test_two_models_are_the_most_in_memory(evening):
    most = 0
    for name in ("b", "small", "tall", "b", "a") * 3:
        evening.select(name)
        for _ in range(4):
            evening.turn()
            most = max(most, len(evening.switch._renderers) + (evening.switch._loading is not None))
            if evening.switch._loading is not None:
                evening.loaded()
    assert most == 2
    for _ in range(3):
        for _ in range(2 * FPS):
            evening.turn()
        evening.loaded() if evening.switch._loading else None
    assert list(evening.switch._renderers) == ["a"]


@pytest.mark.parametrize("name", ["small", "tall"])
def test_another_size_is_brought_to_the_walls(evening, name):
    evening.select(name, 0.0)
    evening.loaded()
    frame = evening.turn()
    assert np.abs(frame - evening.alone(name)).max() <= 1
    if name == "tall":
        assert not frame[:, :8].any()
        assert not frame[:, -8:].any()
        assert frame[:, 8:-8].std() > 5


def test_an_engine_that_starts_again_begins_with_the_chosen_model(folder):
    evening = Evening(folder, first="b")
    evening.state = step(evening.state, [ControlMessage("model/select", "b")], evening.clock.tick(), evening.show)
    assert np.abs(evening.turn() - evening.alone("b")).max() <= 1


def test_and_with_the_shows_own_where_that_one_is_gone(folder, caplog):
    with caplog.at_level(logging.WARNING):
        evening = Evening(folder, first="gone")
        evening.state = step(
            evening.state, [ControlMessage("model/select", "gone")], evening.clock.tick(), evening.show
        )
        for _ in range(3):
            assert np.abs(evening.turn() - evening.alone("a")).max() <= 1
    assert len(caplog.records) == 1
    assert "the model gone is not shown, a is" in caplog.text


def test_without_an_audience_the_state_alone_says_what_is_drawn(folder):
    """The picture of a moment in the middle of a crossfade is the same, whatever was drawn before it."""
    played = Evening(folder, wait=True)
    played.select("b")
    frames = [played.turn() for _ in range(FPS + 1)]
    at_once = Evening(folder, wait=True)
    state: ShowState = played.state
    at_once.state = state
    frame = np.zeros((32, 32, 4), np.uint8)
    at_once.switch.draw(state, frame)
    assert np.array_equal(frame[..., :3], frames[-1])
    with pytest.raises(ModelError, match="broken"):
        played.select("broken")


def test_a_picture_that_is_not_finite_is_said_to_be(folder):
    evening = Evening(folder, first="hot", wait=True)
    frame = np.zeros((32, 32, 4), np.uint8)
    state = step(evening.state, [ControlMessage("model/select", "hot", 0.0)], evening.clock.tick(), evening.show)
    assert evening.switch.render(state, frame) is False
    with pytest.raises(EngineError, match="NaN or infinite"):
        evening.switch.draw(state, frame)


def test_a_crossfade_without_an_audience_is_halfway_at_half_its_time(folder):
    evening = Evening(folder, wait=True)
    evening.select("b")
    for _ in range(FPS // 2):
        halfway = evening.turn()
    assert np.abs(halfway - (evening.alone("a") + evening.alone("b")) / 2).max() <= 1.5


def test_a_picture_that_fits_is_passed_on_as_it_is():
    img = torch.rand(1, 3, 4, 6)
    assert fitted(img, (6, 4)) is img
    assert switch_module.fitted(img, (12, 12)).shape == (1, 3, 12, 12)
