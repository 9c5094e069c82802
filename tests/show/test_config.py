"""The show's file: every fault at once, with key and a did-you-mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from installation.errors import ConfigError
from installation.show.config import Show, load, parse
from tests.show.shows import make_show

GOOD = """
title = "Test"
[cascade]
base = "dcgan-faces"
stages = ["x4"]
[params]
drift.speed = 0.2
latent.psi = 0.6
look.select = "silver"
[looks.neutral]
[looks.silver]
saturation = 0.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "show.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_show_is_read(tmp_path):
    show = load(write(tmp_path, GOOD))
    assert show.first_value("drift/speed") == 0.2
    assert show.first_value("look/select") == "silver"
    assert show.first_value("look/contrast") == 1.0


def test_a_show_survives_the_way_to_another_process(tmp_path):
    show = load(write(tmp_path, GOOD))
    assert Show.model_validate_json(show.model_dump_json()) == show


def test_all_faults_are_listed_together_with_file_key_and_did_you_mean(tmp_path):
    path = write(
        tmp_path,
        GOOD.replace("title", "titel").replace("drift.speed", "drift.sped").replace("stages", "stagez")
        + "saturaton = 1\n[osc]\nprot = 9000\n[screen]\nrotate = 45\n[[midi.map]]\nto = 'drift/sped'\ncc = 1\n",
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert str(path) in text
    for line in (
        "titel: no such key; did you mean 'title'?",
        "params.drift.sped: no such parameter; did you mean 'drift.speed'?",
        "cascade.stagez: no such key; did you mean 'stages'?",
        "looks.silver.saturaton: no such key; did you mean 'saturation'?",
        "osc.prot: no such key; did you mean 'port'?",
        "screen.rotate",
    ):
        assert line in text


def test_a_midi_map_names_real_parameters():
    with pytest.raises(ConfigError, match=r"midi.map\[0\].to: no parameter 'drift/sped'; did you mean 'drift/speed'"):
        make_show(midi={"map": [{"to": "drift/sped", "cc": 1}]})


@pytest.mark.parametrize("text", ["title = ", "\x00", "[cascade]\nbase = 1", "title = 'x'", "[[cascade]]"])
def test_garbage_is_one_config_error(tmp_path, text):
    with pytest.raises(ConfigError, match=r"show\.toml"):
        load(write(tmp_path, text))


def test_binary_garbage_and_a_missing_file_are_config_errors(tmp_path):
    path = tmp_path / "show.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path)


def test_first_values_outside_their_range_are_faults():
    with pytest.raises(ConfigError, match=r"params\.latent\.psi: 9 is outside 0 \.\. 1\.5"):
        make_show(params={"latent": {"psi": 9}})


def test_a_saved_latent_is_read_and_a_bad_one_refused(tmp_path):
    np.save(tmp_path / "anna.npy", np.arange(4, dtype=np.float32))
    np.save(tmp_path / "bad.npy", np.array([np.nan, 1.0]))
    tree = {"cascade": {"base": "x"}, "walk": {"tour": [{"latent": "anna.npy"}]}}
    assert parse(tree, where="t", folder=tmp_path).walk.tour[0].values == ((0.0, 1.0, 2.0, 3.0),)
    tree["walk"]["tour"] = [{"latent": "bad.npy"}, {"latent": "gone.npy"}, {"seed": 1, "latent": "anna.npy"}, {}]
    with pytest.raises(ConfigError) as caught:
        parse(tree, where="t", folder=tmp_path)
    for key in ("walk.tour[0].latent", "walk.tour[1].latent", "walk.tour[2]: either", "walk.tour[3]: either"):
        assert key in str(caught.value)


def test_a_latent_that_holds_a_pickle_is_not_run(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"evil\.npy"):
        make_show_in(tmp_path, tour=[{"latent": "evil.npy"}])


def test_a_rest_longer_than_its_leg_is_a_fault():
    with pytest.raises(ConfigError, match=r"walk\.tour\[0\]\.hold_s: a leg lasts 10 s"):
        make_show(walk={"tour": [{"seed": 1, "hold_s": 12}, {"seed": 2}]})


def test_a_tour_without_stops_is_a_fault():
    with pytest.raises(ConfigError, match=r"walk\.tour"):
        make_show(params={"walk": {"mode": "tour"}})


def make_show_in(folder: Path, **walk) -> Show:
    return parse({"cascade": {"base": "none"}, "walk": walk}, where="test", folder=folder)
