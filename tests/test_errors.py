"""errors: one sentence for people, and the command that installs what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from installation import errors


def test_an_error_is_one_line_of_where_what_and_fix() -> None:
    error = errors.ModelError("no such file", where="a.pkl", fix="Name another")
    assert str(error) == "a.pkl: no such file. Name another"


@pytest.mark.parametrize(
    ("prefix", "command"),
    [("checkout/.venv", "make setup EXTRAS=midi"), ("elsewhere", "pip install 'installation[midi]'")],
)
def test_an_extra_is_installed_into_the_environment_this_runs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, command: str
) -> None:
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "checkout" / "installation" / "errors.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
    assert errors.install_extra("midi") == command
