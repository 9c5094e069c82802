"""A show's file is checked before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation import opening
from installation.errors import ConfigError, ModelError

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


@pytest.mark.parametrize("name", ["typo.jpg", "a" * 5000])
def test_a_still_that_is_not_there_is_a_fault_of_the_show(tmp_path: Path, name: str) -> None:
    path = tmp_path / "show.toml"
    path.write_text(f"still = '{name}'\n" + SHOW)
    with pytest.raises(ConfigError, match="still: no such file: '"):
        opening.load_show(str(path), {})
