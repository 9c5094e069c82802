"""Finding shows and shaders in a checkout; the same from a wheel is in test_packaging.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation import resources
from installation.errors import ConfigError


def test_the_folders_of_a_checkout_are_at_the_top_of_the_repository() -> None:
    top = Path(__file__).resolve().parents[1]
    assert resources.shaders_dir() == top / "shaders"
    assert resources.checkpoints_dir() == top / "checkpoints"


def test_a_default_show_is_found_by_name() -> None:
    assert "first_light" in resources.shows()
    assert resources.show_config("first_light").name == "first_light.toml"


def test_a_misspelt_show_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no show named 'frist_light'; did you mean 'first_light'\?") as fault:
        resources.show_config("frist_light")
    assert fault.value.exit_code == 2


def test_a_name_unlike_any_is_answered_with_the_list() -> None:
    with pytest.raises(ConfigError, match=r"Name one of .*first_light"):
        resources.show_config("xyzzy")


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "my show.toml"
    own.write_text("")
    assert resources.show_config(own) == own.resolve()


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"shows/none\.toml: there is no such file"):
        resources.show_config("shows/none.toml")


def test_a_folder_is_no_show(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder"):
        resources.show_config(str(tmp_path))


def test_a_name_cannot_lead_out_of_the_folder() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        resources.show_config("../pyproject")


def test_a_damaged_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "installation")
    with pytest.raises(ConfigError, match="the folder is missing"):
        resources.shaders_dir()


@pytest.mark.parametrize("name", ["~nobody-here/show.toml", f"{'a' * 5000}.toml", "nul\0.toml"])
def test_a_path_that_cannot_be_is_no_such_file(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        resources.show_config(name)
