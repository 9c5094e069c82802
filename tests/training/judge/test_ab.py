"""The blind comparison: fair questions, answers kept at once, and a server that gives nothing away."""

from __future__ import annotations

import http.client
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.errors import ModelError, OutputError
from installation.models import checkpoint, random_weights
from installation.training.judge.ab import Blind, page, pairs, result
from installation.training.judge.pictures import pictures_of
from installation.training.local_page import LocalPage

A, B = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 200, np.uint8)


def blind(folder: Path, count: int = 20, seed: int = 0) -> Blind:
    return Blind([A] * 3, [B] * 5, folder / "answers.jsonl", names=("old", "new"), count=count, seed=seed)


@pytest.fixture
def asked(tmp_path: Path) -> Blind:
    return blind(tmp_path, 3)


@pytest.fixture
def server(asked: Blind) -> Iterator[LocalPage]:
    one, over = page(asked), threading.Event()
    thread = threading.Thread(target=one.serve, args=(over, lambda address: None))
    thread.start()
    yield one
    over.set()
    thread.join()


def ask(server: LocalPage, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, path, data, {**kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_sides_are_random_and_even_and_every_picture_comes_before_one_comes_again() -> None:
    asked = pairs(40, 60, count=200, seed=1)
    assert 70 <= sum(pair.a_left for pair in asked) <= 130
    assert sorted(pair.a for pair in asked[:40]) == list(range(40))
    assert sorted(pair.b for pair in asked[:60]) == list(range(60))
    assert asked == pairs(40, 60, count=200, seed=1)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ModelError):
        pairs(0, 5)


def test_even_answers_are_no_difference() -> None:
    found = result(["a"] * 52 + ["b"] * 48)
    assert found.low < 0.5 < found.high
    assert "no difference" in found.text
    assert found.strength == pytest.approx(np.log(52.5 / 48.5))


def test_a_clear_preference_is_named() -> None:
    found = result(["a"] * 130 + ["b"] * 60 + ["same"] * 10, "old", "new")
    assert found.share == pytest.approx(0.675)
    assert found.low > 0.5
    assert "old is preferred" in found.text


def test_no_answer_yet_is_no_difference() -> None:
    assert (result([]).low, result([]).high) == (0.0, 1.0)


def test_an_answer_counts_for_the_set_that_was_shown_there(tmp_path: Path) -> None:
    one = blind(tmp_path)
    for number, pair in enumerate(one.pairs):
        assert one.answer(number, "left" if pair.a_left else "right")
    assert one.result().a_wins == 20


def test_a_picture_is_on_the_side_the_question_says(tmp_path: Path) -> None:
    one = blind(tmp_path)
    for number, pair in enumerate(one.pairs):
        shown = np.asarray(Image.open(io.BytesIO(one.picture(number, 0))))
        assert shown[0, 0, 0] == (10 if pair.a_left else 200)


def test_an_answer_is_on_the_disk_at_once_and_an_interrupted_evening_goes_on(tmp_path: Path) -> None:
    one = blind(tmp_path)
    one.answer(0, "left")
    one.answer(1, "same")
    with (tmp_path / "answers.jsonl").open("ab") as file:
        file.write(b'{"pair": 2, "cho')
    again = blind(tmp_path)
    assert again.done == 2
    assert again.answer(2, "right")
    assert blind(tmp_path).done == 3


def test_a_second_press_of_a_key_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = blind(tmp_path)
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    assert one.answer(0, "left")
    assert len(flushed) == 1
    assert not one.answer(0, "left")
    assert one.done == 1


def test_answers_of_another_comparison_are_not_mixed_in(tmp_path: Path) -> None:
    blind(tmp_path)
    with pytest.raises(OutputError, match="another comparison"):
        blind(tmp_path, seed=9)


def test_answers_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").mkdir()
    with pytest.raises(OutputError, match="cannot be read"):
        blind(tmp_path)


def test_the_page_asks_to_the_end_and_then_tells(server: LocalPage) -> None:
    status, html = ask(server, "GET", "/")
    assert (status, b"<!doctype html>" in html) == (200, True)
    for number in range(3):
        state = json.loads(ask(server, "GET", "/state")[1])
        assert (state["done"], state["result"]) == (number, None)
        assert ask(server, "GET", f"/picture/{number}/1")[1].startswith(b"\x89PNG")
        assert ask(server, "POST", "/answer", {"pair": number, "choice": "left"})[0] == 200
    assert "chosen" in json.loads(ask(server, "GET", "/state")[1])["result"]


def test_another_host_name_is_refused(server: LocalPage, asked: Blind) -> None:
    assert ask(server, "GET", "/", Host="evil.example")[0] == 403
    assert ask(server, "POST", "/answer", {"pair": 0, "choice": "left"}, Host="evil.example:80")[0] == 403
    assert asked.done == 0


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "//state",
        "//picture/0/0",
        "/picture/0/0/",
        "/picture/99/0",
        "/picture/0/2",
        "/picture/-1/0",
        "/picture/../0",
        "/etc/passwd",
        "/picture/0/0/..",
        "/?x",
    ],
)
def test_only_numbers_of_questions_are_pictures(server: LocalPage, path: str) -> None:
    assert ask(server, "GET", path)[0] == 404


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'{"pair": true, "choice": "left"}', b'{"pair": 0}', b"x" * 5000])
def test_nonsense_is_refused_and_not_counted(server: LocalPage, asked: Blind, body: bytes) -> None:
    assert ask(server, "POST", "/answer", body)[0] == 400
    assert asked.done == 0


def test_pictures_come_from_a_folder_without_the_damaged_ones(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 40, 3), 9, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_text("no picture")
    (found,) = pictures_of(tmp_path, 16)
    assert found.shape == (16, 16, 3)


def test_a_stage_after_a_stage_is_shown_after_the_whole_cascade(tmp_path: Path) -> None:
    paths = []
    for name, network in (("base", random_weights.dcgan()), ("stage", random_weights.srvgg())):
        paths.append(tmp_path / f"{name}.safetensors")
        checkpoint.save(paths[-1], network.state_dict(), checkpoint.describe(network, name=name))
    base, stage = paths
    twice, once = (pictures_of(stage, 128, count=1, base=before)[0] for before in ([base, stage], [base]))
    assert twice.shape == (128, 128, 3)
    assert not np.array_equal(twice, once)
    with pytest.raises(ModelError, match="Name it as --base"):
        pictures_of(stage, 16)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ModelError, match="no pictures"):
        pictures_of(tmp_path, 16)
