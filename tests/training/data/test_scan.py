"""A folder as an artist has it: good portraits, copies, fakes, rubbish. What was planted is found, and nothing ends the run."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from installation.errors import ConfigError, OutputError
from installation.training.data import measure
from installation.training.data import scan as module
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.mtcnn import MTCNN
from installation.training.data.rules import Rules
from installation.training.data.scan import Summary, scan
from installation.training.picture import decode_picture, read_picture, resize, to_uint8
from tests.training.data.conftest import enlarged, jpeg

# Sharp studio photographs of different people.
GOOD = [f"{i:05d}" for i in (87, 174, 435, 609, 696)]
VICTIMS = {"up": "00218", "mangled": "00327", "low": "00436", "soft": "00545"}


def plant(folder: Path, shared: Path) -> None:
    source = shared / "data/portraits_congress"
    (folder / "sub").mkdir(parents=True)
    for name in GOOD:
        shutil.copy(source / f"{name}.jpg", folder / f"{name}.jpg")
    shutil.copy(source / f"{GOOD[0]}.jpg", folder / "sub/copy.jpg")
    first = read_picture(source / f"{GOOD[1]}.jpg").pixels
    (folder / "smaller copy.jpg").write_bytes(jpeg(to_uint8(resize(first, 150, 183)), 75))
    victims = {key: read_picture(source / f"{name}.jpg").pixels for key, name in VICTIMS.items()}
    (folder / "up.jpg").write_bytes(jpeg(enlarged(victims["up"], 2.5), 92))
    Image.fromarray(decode_picture(jpeg(victims["mangled"], 12)).pixels).save(folder / "mangled.png")
    (folder / "low.jpg").write_bytes(jpeg(victims["low"], 25))
    soft = to_uint8(gaussian_filter(victims["soft"].astype(float), (4, 4, 0)))
    (folder / "soft.jpg").write_bytes(jpeg(soft, 92))
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes((source / f"{GOOD[2]}.jpg").read_bytes()[:3000])
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / "nobody.png")
    (folder / ".hidden.jpg").write_bytes(b"x")


@pytest.fixture(scope="module")
def curated(
    tmp_path_factory: pytest.TempPathFactory, shared_dir: Path, detector: MTCNN, hashing: None
) -> tuple[Path, Path, Summary]:
    """(folder, manifest, summary) of one scan of the planted folder."""
    folder = tmp_path_factory.mktemp("raw") / "mine"
    plant(folder, shared_dir)
    manifest = folder.parent / "m.jsonl"
    return folder, manifest, scan(folder, manifest, workers=1, with_text=False)


def entries(curated: tuple[Path, Path, Summary]) -> dict[str, Entry]:
    return {name.removeprefix("mine/"): entry for name, entry in Manifest.read(curated[1]).entries.items()}


def codes(entry: Entry) -> list[str]:
    return [reason.split(":")[0] for reason in entry.reasons]


def test_the_good_ones_are_kept(curated: tuple[Path, Path, Summary]) -> None:
    found = entries(curated)
    assert [(name, found[f"{name}.jpg"].reasons) for name in GOOD if found[f"{name}.jpg"].decision != "keep"] == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("sub/copy.jpg", "duplicate"),
        ("smaller copy.jpg", "near-duplicate"),
        ("up.jpg", "upscaled"),
        ("mangled.png", "blocky"),
        ("low.jpg", "jpeg"),
        ("soft.jpg", "blurred"),
        ("notes.txt", "unreadable"),
        ("empty.jpg", "unreadable"),
        ("cut.jpg", "unreadable"),
        ("nobody.png", "no-face"),
    ],
)
def test_each_planted_fault_is_found(curated: tuple[Path, Path, Summary], name: str, code: str) -> None:
    entry = entries(curated)[name]
    assert entry.decision != "keep"
    assert code in codes(entry)


def test_a_copy_names_the_picture_that_stays(curated: tuple[Path, Path, Summary]) -> None:
    assert f"of mine/{GOOD[1]}.jpg" in entries(curated)["smaller copy.jpg"].reasons[0]


def test_hidden_files_are_left_alone(curated: tuple[Path, Path, Summary]) -> None:
    assert ".hidden.jpg" not in entries(curated)


def test_the_summary_counts_what_the_manifest_says(curated: tuple[Path, Path, Summary]) -> None:
    summary = curated[2]
    assert sum(summary.counts.values()) == summary.measured == len(entries(curated))
    assert set(summary.unreadable) == {"mine/notes.txt", "mine/empty.jpg", "mine/cut.jpg"}


def test_every_picture_has_its_scores_and_digest(curated: tuple[Path, Path, Summary]) -> None:
    for entry in entries(curated).values():
        assert entry.error or {"detail", "blockiness", "drawing", "brightness", "border"} <= entry.scores.keys()
        assert len(entry.sha256) == 64


def test_a_second_scan_measures_nothing_and_says_the_same(curated: tuple[Path, Path, Summary]) -> None:
    folder, manifest, _ = curated
    before = Manifest.read(manifest).entries
    assert scan(folder, manifest, workers=1, with_text=False).measured == 0
    assert Manifest.read(manifest).entries == before


def test_other_rules_need_no_new_measuring(curated: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    folder, manifest, _ = curated
    copy = tmp_path / "m.jsonl"
    shutil.copy(manifest, copy)
    strict = scan(folder, copy, workers=1, with_text=False, rules=Rules(side=5000))
    assert (strict.measured, strict.counts["keep"]) == (0, 0)


def test_what_was_decided_by_hand_stays(curated: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    folder, manifest, _ = curated
    copy = tmp_path / "m.jsonl"
    shutil.copy(manifest, copy)
    with Manifest.writing(copy) as opened:
        opened.put(replace(opened.entries["mine/up.jpg"], decision="keep", by="hand"))
    scan(folder, copy, workers=1, with_text=False)
    assert Manifest.read(copy).entries["mine/up.jpg"].decision == "keep"


def hand(manifest: Path) -> dict[str, str]:
    return {name: entry.decision for name, entry in Manifest.read(manifest).entries.items() if entry.by == "hand"}


def test_decisions_by_hand_go_with_the_bytes_through_every_renaming(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    folder, manifest = tmp_path / "mine", tmp_path / "m.jsonl"
    folder.mkdir()
    for number, name in enumerate(GOOD[:3], 1):
        shutil.copy(curated[0] / f"{name}.jpg", folder / f"{number}.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    with Manifest.writing(manifest) as opened:
        for number, decision in ((1, "keep"), (2, "drop")):
            opened.put(replace(opened.entries[f"mine/{number}.jpg"], decision=decision, by="hand"))

    # Numbered anew: every name is taken by other bytes, and the first picture is in another room.
    (folder / "1.jpg").rename(tmp_path / "first.jpg")
    (folder / "2.jpg").rename(folder / "1.jpg")
    (folder / "3.jpg").rename(folder / "2.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/1.jpg": "drop"}
    (tmp_path / "first.jpg").rename(folder / "9.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/1.jpg": "drop", "mine/9.jpg": "keep"}

    # Names exchanged; then a copy is all that is left of one.
    (folder / "1.jpg").rename(folder / "x")
    (folder / "9.jpg").rename(folder / "1.jpg")
    (folder / "x").rename(folder / "9.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/1.jpg": "keep", "mine/9.jpg": "drop"}
    shutil.copy(folder / "9.jpg", folder / "copy.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/1.jpg": "keep", "mine/9.jpg": "drop"}
    (folder / "9.jpg").unlink()
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/1.jpg": "keep", "mine/copy.jpg": "drop"}


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_a_picture_that_cannot_be_read_for_once_keeps_its_decision(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    folder, manifest, disk = tmp_path / "mine", tmp_path / "m.jsonl", tmp_path / "disk.jpg"
    folder.mkdir()
    shutil.copy(curated[0] / f"{GOOD[1]}.jpg", folder)
    shutil.copy(curated[0] / f"{GOOD[0]}.jpg", disk)
    (folder / "a.jpg").symlink_to(disk)
    scan(folder, manifest, workers=1, with_text=False)
    with Manifest.writing(manifest) as opened:
        opened.put(replace(opened.entries["mine/a.jpg"], decision="drop", by="hand"))
    disk.rename(tmp_path / "away.jpg")
    assert "mine/a.jpg" in scan(folder, manifest, workers=1, with_text=False).unreadable
    (tmp_path / "away.jpg").rename(disk)
    scan(folder, manifest, workers=1, with_text=False)
    assert hand(manifest) == {"mine/a.jpg": "drop"}


def two_folders(curated: tuple[Path, Path, Summary], place: Path) -> tuple[Path, Path]:
    """Folders of one good picture each."""
    folders = place / "first", place / "second"
    for folder, name in zip(folders, GOOD, strict=False):
        folder.mkdir()
        shutil.copy2(curated[0] / f"{name}.jpg", folder)
    return folders


def test_a_scan_of_a_further_folder_that_was_killed_leaves_a_manifest_that_can_be_used(
    curated: tuple[Path, Path, Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, manifest = *two_folders(curated, tmp_path), tmp_path / "m.jsonl"
    scan(first, manifest, workers=1, with_text=False)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([first, second], manifest, workers=1, with_text=False, progress=killed)
    found = Manifest.read(manifest)
    assert {name: found.place(name).is_file() for name in found.entries} == {
        f"first/{GOOD[0]}.jpg": True,
        f"second/{GOOD[1]}.jpg": True,
    }


def test_what_was_decided_by_hand_is_found_again_after_the_folder_was_away_and_under_another_name(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    folder, manifest = tmp_path / "mine", tmp_path / "m.jsonl"
    (folder / "disk").mkdir(parents=True)
    for name in GOOD[:3]:
        shutil.copy(curated[0] / f"{name}.jpg", folder / "disk")
    shutil.copy(curated[0] / f"{GOOD[3]}.jpg", folder)
    scan(folder, manifest, workers=1, with_text=False)
    away, renamed, plain = (f"mine/disk/{name}.jpg" for name in GOOD[:3])
    with Manifest.writing(manifest) as opened:
        for name in (away, renamed):
            opened.put(replace(opened.entries[name], decision="drop", by="hand"))

    (folder / "disk").rename(tmp_path / "unmounted")
    assert scan(folder, manifest, workers=1, with_text=False).gone == 3
    assert scan(folder, manifest, workers=1, with_text=False).gone == 0
    (tmp_path / "unmounted").rename(folder / "disk")
    (folder / "disk" / Path(renamed).name).rename(folder / "disk/other.jpg")
    assert scan(folder, manifest, workers=1, with_text=False).measured == 3

    found = Manifest.read(manifest)
    assert hand(manifest) == {away: "drop", "mine/disk/other.jpg": "drop"}
    assert found.entries[plain].decision == "keep"
    assert found.facts["away"] == {}


def test_a_decision_by_hand_is_not_about_another_picture_of_the_same_name(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    folder, manifest = tmp_path / "mine", tmp_path / "m.jsonl"
    folder.mkdir()
    shutil.copy(curated[0] / f"{GOOD[0]}.jpg", folder / "a.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    with Manifest.writing(manifest) as opened:
        opened.put(replace(opened.entries["mine/a.jpg"], decision="drop", by="hand"))
    shutil.copy(curated[0] / f"{GOOD[1]}.jpg", folder / "a.jpg")
    scan(folder, manifest, workers=1, with_text=False)
    entry = Manifest.read(manifest).entries["mine/a.jpg"]
    assert (entry.decision, entry.by) == ("keep", "rule")


def test_a_score_that_can_be_taken_now_is_taken(
    curated: tuple[Path, Path, Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = tmp_path / "mine", tmp_path / "m.jsonl"
    folder.mkdir()
    for name in GOOD[:2]:
        shutil.copy(curated[0] / f"{name}.jpg", folder)
    (folder / "notes.txt").write_text("no picture")
    with monkeypatch.context() as patch:
        patch.setattr(measure, "_features", lambda: None)
        assert scan(folder, manifest, workers=1, with_text=False).measured == 3
    features = measure._features() is not None
    assert scan(folder, manifest, workers=1, with_text=False).measured == (2 if features else 0)
    with monkeypatch.context() as patch:  # the same score without its network, which takes its time
        patch.setattr(measure.text, "available", lambda: True)
        patch.setattr(measure, "_text", lambda: SimpleNamespace(area=lambda pixels: 0.25))
        assert scan(folder, manifest, workers=1).measured == 2
        assert scan(folder, manifest, workers=1).measured == 0
        assert scan(folder, manifest, workers=1, with_text=False).measured == 0
    texts = [entry.scores["text"] for entry in Manifest.read(manifest).entries.values() if not entry.error]
    assert texts == [0.25, 0.25]


def test_a_scan_that_was_stopped_goes_on(curated: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    folder, manifest = curated[0], tmp_path / "m.jsonl"

    def stop(done: int, _: int, __: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(folder, manifest, workers=1, with_text=False, progress=stop)
    assert len(Manifest.read(manifest).entries) == 3
    whole = scan(folder, manifest, workers=1, with_text=False)
    assert whole.measured == len(Manifest.read(manifest).entries) - 3
    assert whole.counts == curated[2].counts


def test_a_folder_of_text_files_is_an_error(tmp_path: Path, detector: MTCNN, hashing: None) -> None:
    (tmp_path / "words").mkdir()
    for i in range(3):
        (tmp_path / f"words/{i}.txt").write_text("words")
    with pytest.raises(OutputError, match="none of the 3 files is a picture"):
        scan(tmp_path / "words", tmp_path / "m.jsonl", workers=1)


def test_an_empty_folder_is_an_error(tmp_path: Path, detector: MTCNN, hashing: None) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(OutputError, match="holds no file"):
        scan(tmp_path / "none", tmp_path / "m.jsonl")


@pytest.mark.parametrize("name", ["gone", "file"])
def test_what_is_no_folder_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="folder"):
        scan(tmp_path / name, tmp_path / "m.jsonl")


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "check_tools", list)

    def walk(folder: str, onerror: object, followlinks: bool) -> list[object]:
        assert callable(onerror)
        onerror(PermissionError(13, "Permission denied", f"{folder}/locked"))
        return []

    monkeypatch.setattr(module.os, "walk", walk)
    with pytest.raises(OutputError, match="locked"):
        scan(tmp_path, tmp_path / "m.jsonl")


def test_a_manifest_of_other_folders_is_refused(
    curated: tuple[Path, Path, Summary], tmp_path: Path, detector: MTCNN
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x.txt").write_text("x")
    with pytest.raises(ConfigError, match="other folders"):
        scan(tmp_path / "b", curated[1], workers=1)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_links_to_folders_are_followed_once_and_never_in_a_circle(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    folder, away = tmp_path / "mine", tmp_path / "elsewhere"
    (folder / "own").mkdir(parents=True)
    away.mkdir()
    shutil.copy(curated[0] / f"{GOOD[0]}.jpg", folder / "own")
    shutil.copy(curated[0] / f"{GOOD[1]}.jpg", away)
    for name, target in (("a", folder / "own"), ("b", away), ("c", away), ("d", tmp_path)):
        (folder / name).symlink_to(target, target_is_directory=True)
    (away / "deeper").mkdir()
    for name, target in (("circle", away), ("up", tmp_path), ("down", away / "deeper")):
        (away / name).symlink_to(target, target_is_directory=True)
    (folder / "zz").symlink_to(away / "deeper", target_is_directory=True)
    shutil.copy(curated[0] / f"{GOOD[2]}.jpg", away / "deeper")
    for _ in range(2):  # the second time its own files lie there too
        assert not scan(folder, away / "m.jsonl", workers=1, with_text=False).unreadable
        assert set(Manifest.read(away / "m.jsonl").entries) == {
            f"mine/own/{GOOD[0]}.jpg",
            f"mine/b/{GOOD[1]}.jpg",
            f"mine/b/deeper/{GOOD[2]}.jpg",
        }


def test_a_manifest_takes_a_further_folder_and_one_that_moved(
    curated: tuple[Path, Path, Summary], tmp_path: Path
) -> None:
    first, second, manifest = *two_folders(curated, tmp_path), tmp_path / "m.jsonl"
    scan(first, manifest, workers=1, with_text=False)
    assert scan([first, second], manifest, workers=1, with_text=False).measured == 1
    (tmp_path / "disk").mkdir()
    moved = first.rename(tmp_path / "disk/first")
    assert scan([moved, second], manifest, workers=1, with_text=False).measured == 0
    assert Manifest.read(manifest).sources == {"first": str(moved), "second": str(second)}
    shutil.copytree(moved, first)  # two folders of one name, both there: nobody knows which is meant
    for others in ([first, second], [second]):
        with pytest.raises(ConfigError, match="other folders"):
            scan(others, manifest, workers=1, with_text=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_among_the_pictures_is_passed_over(
    tmp_path: Path, portrait: np.ndarray, detector: MTCNN, hashing: None
) -> None:
    (tmp_path / "one").mkdir()
    Image.fromarray(portrait).save(tmp_path / "one/a.png")
    os.mkfifo(tmp_path / "one/b.jpg")
    found = scan(tmp_path / "one", tmp_path / "m.jsonl", workers=1, with_text=False)
    assert found.counts["keep"] == 1
    assert found.unreadable == {"one/b.jpg": "is no file"}


def test_a_folder_without_pictures_does_not_bind_the_manifest(
    tmp_path: Path, portrait: np.ndarray, detector: MTCNN, hashing: None
) -> None:
    for name in ("texts", "photographs"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts/a.txt").write_text("no picture")
    Image.fromarray(portrait).save(tmp_path / "photographs/a.png")
    with pytest.raises(OutputError, match="none of the 1 files is a picture"):
        scan(tmp_path / "texts", tmp_path / "m.jsonl", workers=1, with_text=False)
    assert scan(tmp_path / "photographs", tmp_path / "m.jsonl", workers=1, with_text=False).counts["keep"] == 1


def test_one_picture_is_enough(tmp_path: Path, portrait: np.ndarray, detector: MTCNN, hashing: None) -> None:
    (tmp_path / "one").mkdir()
    Image.fromarray(portrait).save(tmp_path / "one/a.png")
    assert scan(tmp_path / "one", tmp_path / "m.jsonl", workers=1, with_text=False).counts["keep"] == 1


@pytest.mark.slow
def test_two_processes_find_what_one_finds(curated: tuple[Path, Path, Summary], tmp_path: Path) -> None:
    folder, manifest, _ = curated
    scan(folder, tmp_path / "m.jsonl", workers=2, with_text=False)
    assert Manifest.read(tmp_path / "m.jsonl").entries == Manifest.read(manifest).entries
