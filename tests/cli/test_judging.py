"""The verbs that judge, as they are typed: real runs, a real page asked by another process, real refusals. Every verb is a process."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from installation.training.base.train import train_base
from installation.training.dataset import open_dataset
from installation.training.judge.ab import pairs
from installation.training.judge.base import judge_base
from installation.training.judge.judgement import read_judgement
from installation.training.judge.kit import Kit, make_kit, open_kit
from installation.training.run_info import network_in, read_run
from installation.training.stage.trainer import train_stage
from tests.cli.test_app import command, refused
from tests.training.base.conftest import SMALL, pack_discs
from tests.training.stage.conftest import TINY

# Each verb is a process that loads torch and its networks.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base runs of 32 px with one seed apart, a stage after the first, and a kit."""
    folder = tmp_path_factory.mktemp("atelier")
    discs, large = pack_discs(folder / "discs.safetensors"), pack_discs(folder / "large.safetensors", 64)
    for seed in (1, 2):
        train_base(discs, folder / "runs" / f"seed{seed}", seed=seed, kimg=0.1, device="cpu", overrides=SMALL)
    base = network_in(folder / "runs" / "seed1")
    train_stage(large, folder / "runs" / "stage", scale=2, kimg=0.02, device="cpu", overrides=TINY, previous=base)
    make_kit(open_dataset(discs), folder / "kit", n=60, held_out=0.3, trained=False)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path


def judge(place: Path, name: str, kit: Kit) -> None:
    judge_base(network_in(place / "runs" / name), kit)


def test_a_judged_run_is_found_and_runs_are_held_against_each_other(place: Path, home: Path) -> None:
    runs = place / "runs"
    said = command(home, "judge", "base", str(place / "kit"), str(runs / "seed1"), "--device", "cpu")
    assert said.returncode == 0, said.stderr
    assert "± " in said.stdout
    judge(place, "seed2", open_kit(place / "kit"))
    assert read_run(runs / "seed1").judgement is not None
    listed = command(home, "runs", "list", str(runs)).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["run", "seed1", "seed2", "stage"]
    compared = command(home, "runs", "compare", str(runs / "seed1"), str(runs / "seed2"), "--plot", "curves.png")
    assert compared.returncode == 0, compared.stderr
    assert re.search(r"seed +1 +2\n", compared.stdout)
    assert re.search(r"\nQ .*(no difference|is better)", compared.stdout)
    with Image.open(home / "here" / "curves.png") as picture:
        assert picture.width > 400


def test_runs_judged_by_different_kits_are_refused_with_code_2(place: Path, home: Path) -> None:
    runs = place / "runs"
    other = make_kit(open_dataset(place / "large.safetensors"), home / "kit", n=50, held_out=0.3, trained=False)
    for path in runs.rglob("*.judgement.json"):
        path.unlink()
    judge(place, "seed1", open_kit(place / "kit"))
    judge(place, "seed2", other)
    try:
        refused(home, 2, "different kits", "runs", "compare", str(runs / "seed1"), str(runs / "seed2"))
    finally:
        for path in runs.rglob("*.judgement.json"):
            path.unlink()


def test_a_judgement_goes_where_it_is_told(place: Path, home: Path) -> None:
    network = str(network_in(place / "runs" / "stage"))
    base = str(place / "runs" / "seed1")
    kit = make_kit(open_dataset(place / "large.safetensors"), home / "kit", n=50, held_out=0.3, trained=False)
    said = command(home, "judge", "stage", str(kit.path), network, "--base", base, "-o", "it.judgement.json")
    assert said.returncode == 0, said.stderr
    assert "flicker" in said.stdout
    words = ["judge", "stage", str(kit.path), network, "--base", base, "--base", network, "-o", "second.judgement.json"]
    said = command(home, *words)
    assert said.returncode == 0, said.stderr
    first, second = (read_judgement(home / "here" / f"{name}.judgement.json") for name in ("it", "second"))
    assert second.settings["base"].startswith(f"{first.settings['base']}+")
    said = command(home, "judge", "compare", "it.judgement.json", "it.judgement.json")
    assert "no difference" in said.stdout


def test_the_critic_ranks_seeds_into_a_tour(place: Path, home: Path) -> None:
    runs = place / "runs"
    words = ["judge", "rank", str(runs / "stage"), str(runs / "seed1"), "-o", "tour", "--seeds", "20", "--stops", "5"]
    said = command(home, *words, "--first", "7", "--device", "cpu")
    assert said.returncode == 0, said.stderr
    out = home / "here" / "tour"
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert sorted(int(row["seed"]) for row in rows) == list(range(7, 27))
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    stops = tomllib.loads((out / "tour.toml").read_text())["walk"]["tour"]
    assert [stop["seed"] for stop in stops] == [int(row["seed"]) for row in rows[:5]]
    with Image.open(out / "sheet.png") as sheet:
        assert np.asarray(sheet).std() > 5


def test_a_tour_of_the_ranked_seeds_is_a_show(place: Path, home: Path) -> None:
    from installation.training.stage.curate import curate
    from installation.training.tour import TourPlan

    base, stage = (network_in(place / "runs" / name) for name in ("seed1", "stage"))
    curate(place / "runs" / "stage", [base], TourPlan(home, range(6), stops=3), device="cpu")
    head = f"[cascade]\nbase = {str(base)!r}\nstages = [{str(stage)!r}]\n[params]\nwalk.mode = 'tour'\n"
    (home / "show.toml").write_text(head + (home / "tour.toml").read_text())
    said = command(home, "still", str(home / "show.toml"), "-o", "it.png")
    assert said.returncode == 0, said.stderr
    with Image.open(home / "here" / "it.png") as picture:
        assert picture.size == (64, 64)


def test_what_has_no_critic_is_refused(place: Path, home: Path) -> None:
    runs = place / "runs"
    refused(home, 5, "holds no critic", "judge", "rank", str(runs / "seed1"), str(runs / "seed2"), "-o", "tour")
    refused(home, 6, "is no run's folder", "judge", "rank", str(place), str(runs / "seed2"), "-o", "tour")


class Page:
    """The verb `judge ab` in a process of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "installation", "judge", "ab", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = urlsplit(self.process.stdout.readline().split()[0]).port or 0

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body).encode(), kind)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self, stop: bool) -> str:
        if stop:
            self.process.send_signal(signal.SIGINT)
        said, faults = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, faults
        return said


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_a_page_is_asked_interrupted_and_taken_up_again(place: Path, home: Path) -> None:
    folder = home / "photographs"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(np.full((40, 30, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")
    words = [str(place / "runs" / "seed1"), str(folder), "--answers", "answers.jsonl", "--count", "6", "--size", "32"]
    asked = pairs(6, 6, count=6)
    page = Page(home, *words)
    for number in range(2):
        assert page.ask("GET", f"/picture/{number}/0")[1].startswith(b"\x89PNG")
        said = {"pair": number, "choice": "left" if asked[number].a_left else "right"}
        assert page.ask("POST", "/answer", said)[0] == 200
    said = page.end(stop=True)
    assert "seed1 chosen 100% of 2 times" in said
    assert "seed1 2 · photographs 0" in said

    page = Page(home, *words)
    for number in range(2, 6):
        answer = {"pair": number, "choice": "left" if asked[number].a_left else "right"}
        assert page.ask("POST", "/answer", answer)[0] == 200
    assert "seed1 is preferred" in page.end(stop=False)
    assert len((home / "answers.jsonl").read_text().splitlines()) == 7


def test_a_stage_without_its_base_cannot_be_shown(place: Path, home: Path) -> None:
    stage, base = str(place / "runs" / "stage"), str(place / "runs" / "seed1")
    refused(home, 5, "--base", "judge", "ab", stage, base, "--answers", "a.jsonl")


def test_one_run_alone_is_no_comparison(place: Path, home: Path) -> None:
    refused(home, 2, "two runs", "runs", "compare", str(place / "runs" / "seed1"))


def test_a_runs_card_is_written_from_its_records(place: Path, home: Path) -> None:
    command(home, "runs", "card", str(place / "runs" / "seed1"), str(place / "discs.safetensors"), "-o", "card.md")
    text = (home / "here" / "card.md").read_text(encoding="utf-8")
    assert text.startswith("# seed1\n")
    assert "0.1 kimg" in text
