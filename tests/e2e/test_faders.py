"""The show `faders`: every fader of the desk moves pixels, with random-face's place taken by a tiny StyleGAN2 of our format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from installation.control.midi_mapper import MidiMapper
from installation.models import random_weights
from installation.render.renderer import Renderer
from installation.show.clock import FrameClock
from installation.show.messages import ControlMessage
from installation.show.reading import load
from installation.show.state import first_state
from installation.show.step import step
from tests.e2e.networks import save
from tests.e2e.running import command
from tests.render.pictures import frame_of

FADERS = Path(__file__).resolve().parents[2] / "show_configs" / "faders.toml"
SHOW = load(FADERS)
SHOW = SHOW.model_copy(update={"cascade": SHOW.cascade.model_copy(update={"threads": 1})})


def network():
    """128 px and 12 layers: as many as the show's axes ask for."""
    return random_weights.stylegan2(1, channels=[16, 16, 12, 8, 8, 8])


def test_every_fader_of_the_desk_moves_its_axis():
    renderer, mapper = Renderer(SHOW, network(), ()), MidiMapper(SHOW.table(), SHOW.midi.map)
    state, clock = first_state(SHOW), FrameClock(1)
    faders = [entry for entry in SHOW.midi.map if entry.to.startswith("axis/")]
    assert len(faders) == len(SHOW.axes) == 8

    def push(cc: int, *positions: int) -> np.ndarray:
        """The picture when everything that these make move has come to rest, with the walk stopped."""
        nonlocal state
        mapper.publish(state.values)
        said = [message for value in positions for message in mapper.control_change(1, cc, value)]
        state = step(state, [*said, ControlMessage("drift/pause", True, 0.0)], clock.tick(), SHOW)
        for _ in range(10):
            state = step(state, (), clock.tick(), SHOW)
        return frame_of(renderer, state).astype(int)

    rest = push(127)
    for entry in faders:
        assert entry.cc is not None
        away = push(entry.cc, 64, 90, 127)  # picked up where it stands, then pushed up
        assert state.value(entry.to) == pytest.approx(3.0, abs=0.01)
        assert np.abs(away - rest).mean() > 0.5, entry.to
        assert np.abs(push(entry.cc, 64) - rest).mean() < 0.5, entry.to


@pytest.mark.slow
def test_it_makes_its_picture_from_a_stylegan_of_ones_own(tmp_path):
    """The file lies in the artist's data folder under its own name, as `models add` puts it there; the show names it."""
    place = tmp_path / "xdg_data_home" / "installation" / "models"
    place.mkdir(parents=True)
    tiny = network()
    save(place / "mine.safetensors", tiny, tiny.state_dict())
    (tmp_path / "show.toml").write_text(FADERS.read_text().replace('"random-face"', '"mine"'))
    done = command(tmp_path, "still", str(tmp_path / "show.toml"), "-o", str(tmp_path / "out.png"))
    assert done.returncode == 0, done.stderr
    assert (place / "mine.axes.safetensors").is_file()
    done = command(tmp_path, "models", "axes", "mine", "--count", "2", "--side", "64", "-o", str(tmp_path / "axes.png"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "axes.png").is_file()


def test_without_the_file_a_stranger_reads_what_to_add(tmp_path):
    (tmp_path / "show.toml").write_text(FADERS.read_text().replace('"random-face"', '"mine"'))
    done = command(tmp_path, "still", str(tmp_path / "show.toml"))
    assert done.returncode == 5
    assert "no model is named 'mine'" in done.stderr
    assert "installation models add mine.pkl" in done.stderr


BAD = [
    (("models", "axes", "mine", "--layers", "5-2"), 2, "FIRST-LAST"),
    (("models", "axes", "mine", "--first", "40"), 2, "has 16 axes"),
    (("models", "axes", "mine", "--layers", "20-24"), 5, "layer 20 is beyond"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=[" ".join(row[0][2:]) for row in BAD])
def test_bad_words_get_one_clear_error(tmp_path, args, code, words):
    place = tmp_path / "xdg_data_home" / "installation" / "models"
    place.mkdir(parents=True)
    tiny = network()
    save(place / "mine.safetensors", tiny, tiny.state_dict())
    done = command(tmp_path, *args)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
