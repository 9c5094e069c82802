"""Judgements on disk and side by side: no difference where there is none, refusal where they do not compare."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from installation.errors import ConfigError, OutputError
from installation.training.judge.judgement import Judgement, Number, compare, read_judgement

RNG = np.random.RandomState(0)
SHARED = RNG.standard_normal(32)


def judged(q: float, name: str = "a", *, scatter: float = 1.0, kd: float = 5.0) -> Judgement:
    halves = tuple((q + scatter * RNG.standard_normal(32)).tolist())
    found = {"q": Number.of(q, halves), "kd": Number(kd, 0.1)}
    return Judgement("k" * 64, "base", name, "c" * 64, 1000, {"psi": 1.0}, found, "2026-01-01T00:00:00Z")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    one = judged(50.0)
    assert read_judgement(one.write(tmp_path / "a.judgement.json")) == one


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 9}'])
def test_a_damaged_judgement_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.judgement.json"
    path.write_text(text)
    with pytest.raises(OutputError):
        read_judgement(path)


def test_a_difference_within_two_errors_is_none() -> None:
    assert compare(judged(50.0), judged(51.5, "b"))[0].text == "no difference"


def test_a_larger_one_names_the_better() -> None:
    first = compare(judged(50.0), judged(60.0, "b"))[0]
    assert (first.name, first.text) == ("q", "b is better")
    assert first.delta == pytest.approx(10)


def test_a_smaller_distance_is_the_better_one() -> None:
    verdicts = {one.name: one.text for one in compare(judged(50.0, kd=5.0), judged(50.0, "b", kd=9.0))}
    assert verdicts["kd"] == "a is better"


def test_what_the_pictures_do_to_both_cancels() -> None:
    def tied(q: float, name: str) -> Judgement:
        halves = tuple((q + 5 * SHARED + 0.1 * RNG.standard_normal(32)).tolist())
        return replace(judged(q, name), numbers={"q": Number.of(q, halves)})

    first = compare(tied(50.0, "a"), tied(52.0, "b"))[0]
    assert first.a.se > 3
    assert first.se < 0.3
    assert first.text == "b is better"


def test_different_kits_are_refused() -> None:
    with pytest.raises(ConfigError, match="different kits"):
        compare(judged(50.0), replace(judged(50.0), kit="x" * 64))


def test_different_settings_are_refused_and_named() -> None:
    with pytest.raises(ConfigError, match=r"psi 1\.0 and 0\.7"):
        compare(judged(50.0), replace(judged(50.0), settings={"psi": 0.7}))


def test_a_base_and_a_stage_are_refused() -> None:
    with pytest.raises(ConfigError, match="base"):
        compare(judged(50.0), replace(judged(50.0), kind="stage"))


@pytest.mark.parametrize(("q", "said"), [(61.26, "Q 61.3"), (-20.0, "Q -20.0")])
def test_the_headline_is_the_score(q: float, said: str) -> None:
    assert judged(q).headline().startswith(said)


@pytest.mark.parametrize(("errors", "said"), [(1.5, "no difference"), (1.9, "no difference"), (2.1, "b is better")])
def test_a_difference_counts_from_two_errors_on(errors: float, said: str) -> None:
    """Both were measured on the same halves, between which the difference has a standard deviation of one."""
    wobble = RNG.standard_normal(200)
    wobble = (wobble - wobble.mean()) / wobble.std(ddof=1)
    first = judged(50.0)
    halves = [50.0 + 9.0 * RNG.standard_normal() for _ in wobble]
    a = replace(first, numbers={"q": Number(50.0, 9.0, tuple(halves))})
    b_halves = tuple(half + errors + step for half, step in zip(halves, wobble, strict=True))
    b = replace(first, subject="b", numbers={"q": Number(50.0 + errors, 9.0, b_halves)})
    assert compare(a, b)[0].text == said


@pytest.mark.parametrize("text", ["NaN", "Infinity", "9" * 400], ids=["nan", "infinite", "endless"])
def test_a_value_that_is_no_number_is_damage(tmp_path: Path, text: str) -> None:
    path = judged(40.0).write(tmp_path / "a.judgement.json")
    path.write_text(path.read_text().replace("40.0", text, 1))
    with pytest.raises(OutputError, match="damaged"):
        read_judgement(path)


def test_a_half_that_is_no_number_is_damage_too(tmp_path: Path) -> None:
    path = judged(40.0).write(tmp_path / "a.judgement.json")
    data = json.loads(path.read_text())
    data["numbers"]["q"]["halves"][3] = float("nan")
    path.write_text(json.dumps(data))
    with pytest.raises(OutputError, match="damaged"):
        read_judgement(path)
