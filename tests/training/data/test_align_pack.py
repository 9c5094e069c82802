"""From a manifest to a dataset: crops of the right faces, nothing enlarged, everything accounted for."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.errors import ConfigError, OutputError
from installation.training.data import align as align_module
from installation.training.data import pack as pack_module
from installation.training.data.align import Aligned, align
from installation.training.data.manifest import Manifest
from installation.training.data.mtcnn import MTCNN
from installation.training.data.pack import pack
from installation.training.data.scan import scan
from installation.training.picture import read_picture
from installation.training.records import MADE

SIZE = 64


@pytest.fixture(scope="module")
def scanned(
    tmp_path_factory: pytest.TempPathFactory, shared_dir: Path, detector: MTCNN, hashing: None
) -> tuple[Path, Path]:
    """(folder, manifest) of six portraits; one file holds two of them, side by side."""
    folder = tmp_path_factory.mktemp("raw") / "mine"
    (folder / "sub").mkdir(parents=True)
    source = shared_dir / "data/portraits_congress"
    for i in (174, 435, 609):
        shutil.copy(source / f"{i:05d}.jpg", folder / "sub" / f"{i:05d}.jpg")
    pair = [read_picture(source / f"{i:05d}.jpg").pixels[:275, :225] for i in (87, 696)]
    Image.fromarray(np.concatenate([np.pad(p, ((0, 0), (30, 30), (0, 0)), mode="edge") for p in pair], 1)).save(
        folder / "pair.png"
    )
    shutil.copy(source / "00261.jpg", folder / "dropped.jpg")
    manifest = folder.parent / "m.jsonl"
    scan(folder, manifest, workers=1, with_text=False)
    with Manifest.writing(manifest) as opened:
        for name, entry in list(opened.entries.items()):
            decision = "drop" if "dropped" in name else "keep"
            opened.put(replace(entry, decision=decision, by="hand"))
    return folder, manifest


@pytest.fixture
def manifest(scanned: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(scanned[1], tmp_path / "m.jsonl"))


def aligned(manifest: Path, size: int = SIZE) -> Aligned:
    return align(manifest, manifest.parent / f"crops{size}", size=size, workers=1)


def test_every_face_of_the_kept_pictures_is_cut(manifest: Path) -> None:
    assert aligned(manifest) == Aligned(crops=5, pictures=4, passed={})
    files = sorted(path.relative_to(manifest.parent / "crops64").as_posix() for path in manifest.parent.rglob("*.png"))
    assert files == [
        "mine/pair.png#face2.png",
        "mine/pair.png.png",
        *(f"mine/sub/{n}.jpg.png" for n in ("00174", "00435", "00609")),
    ]


def test_eyes_lie_where_ffhq_has_them(manifest: Path, detector: MTCNN) -> None:
    align(manifest, manifest.parent / "c", size=160, workers=1)
    crop = read_picture(manifest.parent / "c/mine/sub/00435.jpg.png").pixels
    _, points, _ = detector.detect(crop, 40)
    eyes = points[0][:2] / 160
    assert np.abs(eyes[:, 1] - 0.48).max() < 0.05
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(0.25, abs=0.05)
    assert eyes[:, 0].mean() == pytest.approx(0.5, abs=0.03)


def test_a_second_run_cuts_nothing_anew(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = aligned(manifest)
    monkeypatch.setattr(align_module, "_write", None)
    assert aligned(manifest) == first


def test_what_is_smaller_than_asked_is_passed_over_not_enlarged(manifest: Path) -> None:
    found = aligned(manifest, 240)
    assert found.crops == 0
    assert found.passed == {"smaller than 240 px": 5}


@pytest.mark.parametrize(("detail", "crops"), [(1.0, 1), (0.81, 1), (0.79, 0), (None, 1)])
def test_a_face_that_was_enlarged_is_passed_over(manifest: Path, detail: float | None, crops: int) -> None:
    """As large as the crop, of which a fifth of the detail at most may be missing."""
    with Manifest.writing(manifest) as opened:
        for name, entry in list(opened.entries.items()):
            if name.endswith("00174.jpg"):
                face = {**entry.faces[0], "side": float(SIZE), "detail": detail}
                opened.put(replace(entry, faces=[face]))
            else:
                opened.put(replace(entry, decision="drop"))
    found = aligned(manifest)
    assert found.crops == crops
    assert found.passed == ({} if crops else {"too little detail": 1})


def test_what_was_kept_by_hand_though_it_lies_near_the_edge_is_cut(manifest: Path) -> None:
    name = "mine/sub/00174.jpg"
    with Manifest.writing(manifest) as opened:
        faces = [{**opened.entries[name].faces[0], "outside": 0.15}]
        opened.put(replace(opened.entries[name], faces=faces))
    assert aligned(manifest).passed == {}
    with Manifest.writing(manifest) as opened:
        opened.put(replace(opened.entries[name], by="rule", crops=[]))
    assert aligned(manifest).passed == {"too near the edge": 1}


def test_the_same_scan_after_align_finds_the_pictures_and_not_the_crops(
    scanned: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(scanned[0], tmp_path / "mine"))
    manifest = Path(shutil.copy(scanned[1], folder / "m.jsonl"))
    with Manifest.writing(manifest) as opened:
        opened.facts["sources"] = {"mine": str(folder)}
        opened.save()
    before = scan(folder, manifest, workers=1, with_text=False).counts
    aligned(manifest)
    assert (folder / "crops64" / "mine").is_dir()
    assert scan(folder, manifest, workers=1, with_text=False).counts == before
    # Named itself, a folder of crops is a source like any other.
    assert sum(scan(folder / "crops64", tmp_path / "crops.jsonl", workers=1, with_text=False).counts.values()) == 5


def test_a_licence_of_no_folder_is_refused(manifest: Path) -> None:
    aligned(manifest)
    with pytest.raises(ConfigError, match=r"no folder 'theirs'.*mine"):
        pack(manifest, manifest.parent / "d.safetensors", size=SIZE, licences={"mine": "CC0", "theirs": "CC0"})
    assert not (manifest.parent / "d.safetensors").exists()


def test_a_picture_dropped_since_is_left_out(manifest: Path) -> None:
    aligned(manifest)
    with Manifest.writing(manifest) as opened:
        opened.put(replace(opened.entries["mine/sub/00174.jpg"], decision="drop"))
    assert aligned(manifest).crops == 4
    assert pack(manifest, manifest.parent / "d.safetensors", size=SIZE).names == [
        "mine/pair.png",
        "mine/pair.png#face2",
        "mine/sub/00435.jpg",
        "mine/sub/00609.jpg",
    ]


def test_an_uncertain_picture_is_packed_when_asked_for(manifest: Path) -> None:
    aligned(manifest)
    with Manifest.writing(manifest) as opened:
        for entry in list(opened.entries.values()):
            if "174" in entry.name:
                opened.put(replace(entry, decision="uncertain", by="rule"))
    few = pack(manifest, manifest.parent / "few.safetensors", size=SIZE)
    every = pack(manifest, manifest.parent / "every.safetensors", size=SIZE, uncertain=True)
    assert set(every.names) - set(few.names) == {"mine/sub/00174.jpg"}


def test_a_source_changed_since_the_scan_is_said(manifest: Path, scanned: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(scanned[0], tmp_path / "mine"))
    (folder / "sub/00174.jpg").write_bytes(b"other")
    text = manifest.read_text(encoding="utf-8").replace(
        json.dumps(str(scanned[0]))[1:-1], json.dumps(str(folder))[1:-1]
    )
    manifest.write_text(text, encoding="utf-8")
    assert aligned(manifest).passed == {"changed since the scan": 1}


def test_a_full_disk_is_named_and_the_next_run_goes_on(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Path] = []
    write = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        if len(done) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(path)
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill)
        with pytest.raises(OutputError, match="No space left"):
            aligned(manifest)
    assert aligned(manifest).crops == 5


def test_a_name_too_long_for_a_draft_is_shortened(scanned: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(scanned[0] / "sub/00174.jpg", folder / f"{'木' * 79}.jpg")
    scan(folder, tmp_path / "m.jsonl", workers=1, with_text=False)
    found = aligned(tmp_path / "m.jsonl")
    assert (found.crops, found.passed) == (1, {})
    assert aligned(tmp_path / "m.jsonl").crops == 1
    (entry,) = Manifest.read(tmp_path / "m.jsonl").entries.values()
    assert Path(entry.crops[0]["file"]).name == f"{entry.sha256}.png"
    assert pack(tmp_path / "m.jsonl", tmp_path / "f.safetensors", size=SIZE).names == [entry.name]


@pytest.mark.parametrize("place", ["mine", ".", "mine/sub"])
def test_the_photographs_folder_takes_no_crops(scanned: tuple[Path, Path], tmp_path: Path, place: str) -> None:
    folder, manifest = scanned
    copy = Path(shutil.copy(manifest, tmp_path / "m.jsonl"))
    with pytest.raises(ConfigError, match="photographs lie in this folder"):
        align(copy, folder.parent / place, size=SIZE, workers=1)
    assert not list(folder.parent.rglob(MADE))


@pytest.mark.parametrize("name", ["m.jsonl", "faces", "faces.png"])
def test_a_dataset_takes_no_other_files_place(manifest: Path, name: str) -> None:
    aligned(manifest)
    before = manifest.read_bytes()
    with pytest.raises(ConfigError, match=r"ends with \.safetensors"):
        pack(manifest, manifest.parent / name, size=SIZE)
    assert manifest.read_bytes() == before
    assert not (manifest.parent / "faces").exists()


def test_another_manifest_in_the_copys_place_is_left_alone(manifest: Path) -> None:
    aligned(manifest)
    out, beside = manifest.with_name("f.safetensors"), manifest.with_name("f.manifest.jsonl")
    with Manifest.writing(beside, new={"sources": {"others": str(manifest.parent)}, "tools": {}}):
        pass
    before = beside.read_bytes()
    with pytest.raises(ConfigError, match="another manifest has the name"):
        pack(manifest, out, size=SIZE)
    assert (beside.read_bytes(), out.exists()) == (before, False)
    beside.unlink()
    pack(manifest, out, size=SIZE)
    pack(manifest, out, size=SIZE)
    assert beside.read_bytes() == manifest.read_bytes()


def test_no_dataset_is_there_without_the_copy_of_its_manifest(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligned(manifest)
    out, beside = manifest.with_name("f.safetensors"), manifest.with_name("f.manifest.jsonl")

    def killed(path: Path, data: bytes) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pack_module, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(manifest, out, size=SIZE)
    assert not out.exists()
    pack(manifest, out, size=SIZE)
    assert beside.read_bytes() == manifest.read_bytes()


def test_a_packing_that_fails_leaves_the_copy_of_the_last_one(manifest: Path) -> None:
    aligned(manifest)
    out, beside = manifest.with_name("f.safetensors"), manifest.with_name("f.manifest.jsonl")
    pack(manifest, out, size=SIZE)
    before = out.read_bytes(), beside.read_bytes()
    next((manifest.parent / "crops64").rglob("00609*.png")).unlink()
    with Manifest.writing(manifest) as opened:
        opened.put(replace(opened.entries["mine/sub/00174.jpg"], decision="drop"))
    with pytest.raises(OutputError, match="align"):
        pack(manifest, out, size=SIZE)
    assert (out.read_bytes(), beside.read_bytes()) == before


def test_a_manifest_that_is_called_as_the_copy_would_be_stays_as_it_is(manifest: Path) -> None:
    aligned(manifest)
    own = manifest.rename(manifest.with_name("f.manifest.jsonl"))
    before, inode = own.read_bytes(), own.stat().st_ino
    pack(own, own.with_name("f.safetensors"), size=SIZE)
    assert (own.read_bytes(), own.stat().st_ino) == (before, inode)


def test_a_size_out_of_range_is_an_error(manifest: Path) -> None:
    with pytest.raises(ConfigError, match="between"):
        aligned(manifest, 0)


def test_the_dataset_holds_the_crops(manifest: Path) -> None:
    aligned(manifest)
    data = pack(manifest, manifest.parent / "d.safetensors", size=SIZE)
    crop = read_picture(manifest.parent / "crops64/mine/sub/00435.jpg.png").pixels
    assert np.array_equal(data.images[data.names.index("mine/sub/00435.jpg")].transpose(1, 2, 0), crop)
    data.verify()


def test_the_dataset_says_where_everything_came_from(manifest: Path) -> None:
    aligned(manifest)
    data = pack(manifest, manifest.parent / "d.safetensors", size=SIZE, licences={"mine": "public domain"})
    facts = data.manifest
    assert facts["sources"] == [{"name": "mine", "licence": "public domain", "pictures": 5, "kept": 4}]
    assert facts["counts"] == {"keep": 4, "drop": 1, "uncertain": 0, "packed": 5}
    entries = Manifest.read(manifest.parent / facts["manifest_file"]).entries
    assert facts["source_sha256"][-1] == entries["mine/sub/00609.jpg"].sha256


def test_a_smaller_dataset_is_made_from_larger_crops(manifest: Path) -> None:
    aligned(manifest)
    data = pack(manifest, manifest.parent / "d.safetensors", size=32)
    assert data.images.shape == (5, 3, 32, 32)


def test_no_crop_of_the_size_says_what_to_run(manifest: Path) -> None:
    with pytest.raises(OutputError, match="data align"):
        pack(manifest, manifest.parent / "d.safetensors", size=SIZE)


@pytest.mark.parametrize("fault", ["gone", "changed"])
def test_a_crop_that_is_not_as_it_was_stops_the_packing(manifest: Path, fault: str) -> None:
    aligned(manifest)
    crop = next((manifest.parent / "crops64").rglob("00174*.png"))
    if fault == "gone":
        crop.unlink()
    else:
        crop.write_bytes(b"other")
    with pytest.raises(OutputError, match="align"):
        pack(manifest, manifest.parent / "d.safetensors", size=SIZE)
    assert not list(manifest.parent.glob("*d.safetensors*"))
