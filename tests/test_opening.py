"""A show's file is checked before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation import opening
from installation.errors import ConfigError, ModelError
from installation.models import checkpoint, random_weights

SHOW = "[cascade]\nbase = 'faces'\n[looks.neutral]\n[record]\n"


def test_presets_that_do_not_exist_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "show.toml"
    path.write_text(SHOW + "preset = 'prores-422hp'\nlive_preset = 'nope'\n")
    with pytest.raises(ConfigError, match="2 faults in the show") as caught:
        opening.load_show(str(path), {})
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "record.preset: prores-422hp: no such preset; did you mean 'prores-422hq'? There are museum-h264, " in text
    assert "record.live_preset: nope: no such preset. There are " in text
    path.write_text(SHOW + "preset = 'png'\nlive_preset = 'h264-nvenc'\n")
    opening.load_show(str(path), {})


def test_a_network_of_nobodys_home_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "show.toml"
    path.write_text(SHOW.replace("faces", "~nobody-here/faces.safetensors"))
    with pytest.raises(ModelError, match="no such file"):
        opening.find_networks(opening.load_show(str(path), {})[1], tmp_path)


def test_a_still_whose_name_is_endless_is_none(tmp_path: Path) -> None:
    network = random_weights.stylegan2(3)
    checkpoint.save(tmp_path / "faces.safetensors", network.state_dict(), checkpoint.describe(network, name="faces"))
    path = tmp_path / "show.toml"
    path.write_text(f"still = '{'a' * 5000}'\n" + SHOW.replace("faces", "faces.safetensors"))
    _, show = opening.load_show(str(path), {})
    assert opening.open_session(path, show, headless=True, verbose=False).still is None
