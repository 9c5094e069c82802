"""The pages that are made from the program say what the program says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from installation import listing
from installation.cli import EXIT_CODES, app
from installation.show.params import parameter_table

ROOT = Path(__file__).resolve().parents[1]


def test_the_parameter_page_is_made_from_the_table():
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert page == listing.as_markdown(parameter_table()), "installation params --format markdown > docs/parameters.md"


def test_the_json_listing_is_json_and_complete():
    rows = json.loads(json.dumps(listing.as_json(parameter_table())))
    assert [row["address"] for row in rows] == [row.address for row in parameter_table()]


def test_every_file_that_the_readme_links_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).is_file(), target


def test_every_exit_code_is_documented():
    from installation import errors

    codes = {cls.exit_code for cls in vars(errors).values() if isinstance(cls, type)}
    assert codes | {errors.EXIT_TEMPORARY} <= {int(code) for code in re.findall(r"\b\d+\b", EXIT_CODES)}


def test_the_show_page_is_a_show():
    """The example of docs/show.md is read by the program itself, but for the files it names."""
    import tomllib

    from installation.show.config import parse

    text = (ROOT / "docs" / "show.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    tree = tomllib.loads(example)
    del tree["walk"]["tour"][1]
    assert parse(tree, where="docs/show.md", folder=ROOT).title == "First light"


def commands(page: str) -> list[str]:
    """The `installation ...` lines of a page's shell examples."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ").splitlines()
    return [
        line.split("  #")[0].split("installation ", 1)[1]
        for line in lines
        if re.match(r"(torchrun.* )?installation ", line)
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_every_command_that_a_page_shows_is_one(page: str):
    """Verbs, the number of arguments, options and their values are read by the program's own parser; nothing is run."""
    shown = commands(page)
    assert len(shown) > 3
    for line in shown:
        command: Any = typer.main.get_command(app)
        words = shlex.split(line)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        command.make_context(line, words)


def test_every_number_of_the_judge_is_explained():
    from installation.training.judge.judgement import COLUMNS

    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    good = {"high": "high", "low": "low", "one": "near 1"}
    for column in COLUMNS.values():
        assert f"| {column.title} | {good[column.better]} | {column.text} |" in page


def test_every_config_of_a_base_is_in_the_table():
    from installation.training.base.config import CONFIGS

    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name, config in CONFIGS.items():
        assert f"| `{name}` | {config.size} px" in page


def test_every_link_of_a_page_is_there():
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
