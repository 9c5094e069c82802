"""The pages that are made from the program say what the program says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from installation.cli import listing
from installation.cli.app import EXIT_CODES, app
from installation.show.params import parameter_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    *sorted(p.relative_to(ROOT).as_posix() for room in ("docs", "checkpoints") for p in (ROOT / room).glob("*.md")),
]


def test_the_parameter_page_is_made_from_the_table():
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert page == listing.as_markdown(parameter_table()), "installation params --format markdown > docs/parameters.md"


def test_the_json_listing_is_json_and_complete():
    rows = json.loads(json.dumps(listing.as_json(parameter_table())))
    assert [row["address"] for row in rows] == [row.address for row in parameter_table()]


def test_every_exit_code_is_documented():
    from installation import errors

    kinds = [cls for cls in vars(errors).values() if isinstance(cls, type)]
    codes = {cls.exit_code for cls in kinds if issubclass(cls, errors.InstallationError)}
    assert codes | {errors.EXIT_TEMPORARY} <= {int(code) for code in re.findall(r"\b\d+\b", EXIT_CODES)}


def test_the_show_page_is_a_show():
    """The example of docs/show.md is read by the program itself, but for the files it names."""
    from installation.show.reading import parse

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


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(app)


def verb(program: Any, line: str) -> tuple[Any, list[str]]:
    """The command that a line names, and the words after it."""
    command, words = program, shlex.split(line)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_shows_is_one(program: Any, page: str):
    """Verbs, the number of arguments, options and their values are read by the program's own parser; nothing is run."""
    for line in commands(page):
        command, words = verb(program, line)
        command.make_context(line, words)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_command_within_a_sentence_is_one(program: Any, page: str):
    """`installation VERB --option`, which need not be complete: the verb and its options are there. Several may share a verb's place."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for line in re.findall(r"`installation ([a-z][^`]*)`", text):
        first, *others = line.replace("\n", " ").split(", ")
        group = " ".join(first.split()[:-1])
        for said in (first, *(f"{group} {other}" for other in others)):
            command, words = verb(program, said)
            options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
            assert {word for word in words if word.startswith("-")} <= options, said


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_target_extra_and_benchmark_that_a_page_names_is_there(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= set(targets)
    extras = re.findall(r"(?:EXTRAS=|installation\[|\.\[)([a-z,]+)", text)
    assert {name for names in extras for name in names.split(",")} <= set(project["optional-dependencies"])
    for module in re.findall(r"python -m (benchmarks\.[a-z_]+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_the_page_of_networks_names_families_as_the_option_does():
    from installation.models.importers.families import FAMILIES

    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    table = page.partition("## Generators\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| [^|]*\(`([a-z0-9-]+)`", table, re.MULTILINE)) == {family.name for family in FAMILIES}


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


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_is_there_and_not_ignored(page: str):
    """A file that lies here and is ignored is in no clone."""
    place = ROOT / page
    targets = {
        (place.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#:]+)\)", place.read_text(encoding="utf-8"))
    }
    assert [target for target in targets if not target.exists()] == []
    if targets and (ROOT / ".git").exists() and shutil.which("git"):
        ignored = subprocess.run(
            ["git", "check-ignore", "--no-index", *map(str, targets)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ignored.stdout == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_of_the_operation_page_is_one(tmp_path: Path):
    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8").split("```ini\n")[1].split("```")[0]
    program = tmp_path / "installation"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "installation.service"
    unit.write_text(text.replace("%h/installation/.venv/bin/installation", str(program)))
    said = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert [line for line in (said.stdout + said.stderr).splitlines() if "installation.service" in line] == []


def test_the_exit_codes_of_the_operation_page_are_the_programs():
    from installation.errors import ConfigError, ModelError

    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
    assert {int(code) for code in line.split()} == {ConfigError.exit_code, ModelError.exit_code}
