"""`installation models list`, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from installation.cli.models import models_app


def test_a_list_of_networks_says_what_is_allowed_and_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("installation.models.library.models_dir", lambda override=None: tmp_path)
    said = CliRunner().invoke(models_app, ["list"])
    assert said.exit_code == 0, said.output
    rows = {line.split()[1]: line for line in said.output.splitlines() if line.startswith("│")}
    assert "shipped" in rows["portraits"]
    assert "NOT allowed" in rows["random-face"]
    assert "not here" in rows["random-face"]
    assert f"yours: {tmp_path}" in said.output
