"""The pages that are made from the program say what the program says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from installation import listing
from installation.cli import EXIT_CODES
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
