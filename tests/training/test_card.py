"""The model card says what the records say: counts, licences, recipe, hours of work, the judge's numbers, and who has looked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from installation.errors import ConfigError
from installation.models.header import Header
from installation.training.card import Card, hours
from installation.training.dataset import FACE_MARK, Dataset, open_dataset
from installation.training.judge.judgement import Judgement, Number
from installation.training.run_info import RunInfo
from tests.training.base.conftest import pack_discs

SOURCES = [
    {"name": "town", "licence": "CC BY 4.0", "pictures": 40, "kept": 30},
    {"name": "sea", "licence": "public domain", "pictures": 9, "kept": 2},
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    packed = open_dataset(pack_discs(tmp_path / "discs.safetensors"))
    counts = {"keep": 35, "drop": 5, "uncertain": 9}
    manifest = {"sources": SOURCES, "dropped": {"blurred": 12, "edge": 0, "drawing": 3}, "counts": counts}
    return replace(packed, manifest=manifest)


def card(dataset: Dataset, **changes: object) -> Card:
    header = Header("faces", "stylegan2", {}, "generator", size=32, z_dim=8, w_dim=16, licence="a | b", nimg=123_400)
    times = (0.0, 100.0, 3700.0, 3800.0)  # an hour of pause between two stretches of work
    run = RunInfo(
        name="faces",
        folder=Path("runs/faces"),
        config={"gamma": 0.5, "channels": [16, 8]},
        dataset_sha256=dataset.sha256,
        parents={"warm_start": "p" * 64},
        machine={"cores": 2, "torch": "2.13"},
        rows=tuple({"nimg": i, "time": time} for i, time in enumerate(times)),
    )
    whole = Card(header, run, dataset, 4321)
    return replace(whole, **changes)


def test_it_names_each_set_with_what_was_kept_and_its_licence(dataset: Dataset) -> None:
    text = card(dataset).text()
    assert "| town | 30 of 40 | CC BY 4.0 |" in text
    assert "| sea | 2 of 9 | public domain |" in text
    assert dataset.sha256 in text


def test_reasons_that_dropped_nothing_are_not_named(dataset: Dataset) -> None:
    text = card(dataset).text()
    assert "blurred 12, drawing 3" in text
    assert "edge" not in text


def test_what_no_rule_dropped_and_is_not_there_is_counted(dataset: Dataset) -> None:
    """Of 49 pictures 5 were dropped and 31 are there, one of them with two faces."""
    packed = [f"town/{i}.jpg" for i in range(30)] + ["sea/0.jpg", f"sea/0.jpg{FACE_MARK}2"]
    text = card(replace(dataset, names=packed)).text()
    assert "Left out besides: 13 that were left uncertain or have no whole, sharp face of 32 px." in text
    every = [f"town/{i}.jpg" for i in range(44)]
    assert "Left out besides" not in card(replace(dataset, names=every)).text()


def test_it_says_how_the_network_was_made(dataset: Dataset) -> None:
    text = card(dataset).text()
    for fact in (
        "| parameters | 4,321 |",
        "123.4 kimg",
        "| minutes | 3.3 |",
        "gamma 0.5",
        "channels 16-8",
        "cores 2",
        "p" * 64,
        "z 8, w 16",
    ):
        assert fact in text


def test_pauses_are_not_hours_of_work(dataset: Dataset) -> None:
    assert hours(card(dataset).run) == pytest.approx(200 / 3600)


def test_the_judges_numbers_come_with_their_errors_and_warnings(dataset: Dataset) -> None:
    numbers = {"q": Number(61.25, 1.5), "kd": Number(3.125, 0.25)}
    judged = Judgement("k" * 64, "base", "faces", "c" * 64, 1, {"psi": 1.0}, numbers, "2026-01-01", ("N is small",))
    text = card(dataset, judgement=judged).text()
    assert "**Q 61.2 ± 1.5**, kit `kkkkkkkk`, psi 1.0, 2026-01-01, at 0.001 kimg." in text
    assert "| KD | 3.125 ± 0.25 |" in text
    assert "- N is small" in text


def test_without_a_judgement_it_says_so(dataset: Dataset) -> None:
    assert "Not judged." in card(dataset).text()


def test_faults_are_what_a_person_saw(dataset: Dataset) -> None:
    assert "- Nobody has looked yet." in card(dataset).text()
    text = card(dataset, faults=("glasses melt",)).text()
    assert "- glasses melt" in text
    assert "Nobody" not in text


def test_a_licences_bar_does_not_break_the_table(dataset: Dataset) -> None:
    assert "a \\| b" in card(dataset).text()


def test_windows_of_large_pictures_name_their_licence(dataset: Dataset) -> None:
    manifest = {"licences": {"studio": "CC BY 4.0"}, "kept": 168, "crops": {"per_picture": 16}}
    text = card(replace(dataset, manifest=manifest)).text()
    assert "| studio | 168 pictures, 16 windows each | CC BY 4.0 |" in text


def test_pictures_of_another_run_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="other pictures"):
        card(replace(dataset, sha256="0" * 64), run=card(dataset).run).text()


def test_a_damaged_run_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        card(dataset, run=RunInfo("faces", Path("runs/faces"), fault="no run.json")).text()
