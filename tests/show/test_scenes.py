"""Scenes: one press sets many parameters, each by the rules of its own row."""

from __future__ import annotations

from datetime import time

import pytest

from installation.errors import ConfigError
from installation.show.clock import Tick
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.reading import load, parse
from installation.show.scenes import played
from installation.show.state import first_state
from installation.show.step import step
from tests.show.shows import make_show

SCENES = {
    "calm": {"fade_s": 8, "drift": {"speed": 0.02}, "latent": {"psi": 0.5}, "look": {"select": "silver"}},
    "closed": {"look": {"blackout": True}, "drift": {"pause": True}},
}
LOOKS = {"neutral": {}, "silver": {"saturation": 0.0}}


def show(**tables) -> Show:
    return make_show(scenes=SCENES, looks=LOOKS, **tables)


def press(name: str, ramp_s: float | None = None) -> ControlMessage:
    return ControlMessage(f"scene/{name}", None, ramp_s, "osc")


def test_a_scene_is_a_button_of_the_table_that_says_what_it_sets():
    row = show().table()["scene/calm"]
    assert row.kind == "button"
    assert row.address == "/installation/scene/calm"
    assert row.description == "Scene: drift/speed 0.02, latent/psi 0.5, look/select silver; in 8 s."
    assert "scene/calm" not in first_state(show()).values


def test_a_press_becomes_what_the_scene_sets_in_the_files_order():
    assert played([press("calm")], show()) == [
        ControlMessage("drift/speed", 0.02, 8.0, "osc"),
        ControlMessage("latent/psi", 0.5, 8.0, "osc"),
        ControlMessage("look/select", "silver", 8.0, "osc"),
    ]


def test_without_a_fade_each_parameter_moves_as_its_row_says():
    assert [message.ramp_s for message in played([press("closed")], show())] == [None, None]


def test_the_ramp_time_of_the_press_counts_before_the_scenes_own():
    assert {message.ramp_s for message in played([press("calm", 0.0)], show())} == {0.0}


def test_other_messages_keep_their_place():
    before, after = ControlMessage("latent/psi", 0.9), ControlMessage("walk/next", None)
    assert played([before, press("closed"), after], show())[0] is before
    assert played([before, press("closed"), after], show())[-1] is after


def test_the_state_goes_there_in_the_scenes_time():
    it = show()
    state = step(first_state(it), played([press("calm")], it), Tick(1, 0.0, 0.0), it)
    later = step(state, [], Tick(2, 4.0, 4.0), it)
    assert later.value("latent/psi") == pytest.approx(0.6, abs=0.05)  # half of the way from 0.7
    end = step(later, [], Tick(3, 9.0, 5.0), it)
    assert end.value("latent/psi") == 0.5
    assert end.values["look/select"] == "silver"
    assert end.velocity.at(9.0) == 0.02


def test_the_table_is_made_once_and_anew_for_a_changed_copy():
    it = show()
    assert it.table() is it.table()
    assert it == show()
    assert it.model_copy(update={"scenes": {}}).table().get("scene/calm") is None
    assert "parameters" not in it.model_dump()


def test_a_midi_map_may_name_it():
    assert show(midi={"map": [{"to": "scene/calm", "note": 60}]}).midi.map[0].to == "scene/calm"
    with pytest.raises(ConfigError, match="did you mean 'scene/calm'"):
        show(midi={"map": [{"to": "scene/clam", "note": 60}]})


def test_scenes_and_cues_survive_the_way_into_a_take_and_another_process(tmp_path):
    path = tmp_path / "show.toml"
    path.write_text(
        '[cascade]\nbase = "none"\n[looks.neutral]\n[looks.silver]\n[scenes.calm]\nfade_s = 8\nlook.select = "silver"\n'
        '[[cues]]\nat = "18:00"\ndays = ["mon", "sun"]\nscene = "calm"\n'
    )
    it = load(path)
    assert it.scenes["calm"].values == {"look/select": "silver"}
    assert Show.model_validate_json(it.model_dump_json()) == it
    assert parse(it.model_dump(mode="json"), where="take", folder=None) == it


@pytest.mark.parametrize(
    "scenes",
    [
        {"a": {}},
        {"a": {"values": [1]}},
        {"a": {"values": 3}},
        {"a": [1]},
        [1],
        {"a": {"values": {"latent/psi": 1}, "x": 1}},
    ],
)
def test_a_strangers_scenes_are_faults_and_no_tracebacks(scenes):
    """As a take may hold them."""
    with pytest.raises(ConfigError, match="scenes"):
        parse({"cascade": {"base": "none"}, "scenes": scenes}, where="take", folder=None)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (
            {"scenes": {"a": {"latent": {"psy": 0.5}}}},
            "scenes.a.latent.psy: no such parameter; did you mean 'latent.psi'?",
        ),
        ({"scenes": {"a": {"latent": {"psi": 7}}}}, "scenes.a.latent.psi: 7 is outside 0 .. 1.5"),
        ({"scenes": {"a": {"walk": {"next": True}}}}, "scenes.a.walk.next: a button has no"),
        ({"scenes": {"a": {"hud": {"show": True}}}}, "scenes.a.hud.show: belongs to this machine"),
        ({"scenes": {"a": {"fade_s": 3}}}, "scenes.a: sets nothing"),
        ({"scenes": {"a": {"walk": {"mode": "tour"}}}}, "scenes.a.walk.mode: is `tour`, but there are no stops"),
        ({"scenes": {"a": {"fade_s": -1, "latent": {"psi": 1}}}}, "scenes.a.fade_s"),
        ({"scenes": {"A b": {"latent": {"psi": 1}}}}, "scenes.A b"),
        ({"scenes": {"a": 3}}, "scenes.a"),
        ({"cues": [{"at": "10:00", "scene": "calm"}]}, "cues[0].scene: no scene 'calm'"),
        ({"cues": [{"at": "25:00", "scene": "calm"}]}, "cues[0].at: a time of the day in quotes is wanted"),
        ({"cues": [{"at": "7:00", "scene": "calm"}]}, 'such as "09:30"'),
        ({"cues": [{"at": time(10), "scene": "calm"}]}, "cues[0].at: a time of the day in quotes is wanted"),
        ({"cues": [{"at": "10:00", "days": "mon", "scene": "calm"}]}, "cues[0].days: a list of days is wanted"),
        ({"cues": [{"at": "10:00", "days": ["monday"], "scene": "calm"}]}, "cues[0].days[0]"),
        ({"cues": [{"at": "10:00", "days": [], "scene": "calm"}]}, "cues[0].days"),
    ],
)
def test_faults_are_named_with_their_place(tables, words):
    with pytest.raises(ConfigError) as caught:
        make_show(**tables)
    assert words in str(caught.value)
