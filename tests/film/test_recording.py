"""A recording is gone on with only where every frame would be the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installation.errors import ConfigError, ModelError, OutputError
from installation.files import fingerprint
from installation.film import making
from installation.film.recording import Recording
from installation.models import checkpoint, random_weights
from installation.session import Session
from tests.show.shows import make_show

SHOW: dict[str, Any] = {
    "cascade": {"name": "faces", "base": "faces", "device": "cpu"},
    "models": [{"name": "hills", "base": "hills"}],
    "classes": {"cat": 3, "dog": 5},
    "axes": [{"name": "smile", "index": 1}],
    "looks": {"silver": {"contrast": 1.2}},
}


def recording(folder: Path, **tables: Any) -> Recording:
    show = make_show(**{**SHOW, **tables})
    session = Session(
        identity="show",
        state_folder=folder,
        show=show,
        size=(64, 64),
        base=folder / f"{show.cascade.base}.safetensors",
        stages=(),
        models={model.name: (folder / f"{model.base}.safetensors",) for model in show.models},
        still=None,
        pictures=folder,
        films=folder,
        headless=True,
    )
    return Recording(
        session=session,
        size=(64, 64),
        fps="25/1",
        frames=10,
        start_s=0.0,
        leader_frames=0,
        preset="ffv1",
        segment_frames=5,
        hashes={"faces.safetensors": "a", "hills.safetensors": "b"},
        out=folder / "film.mkv",
    )


@pytest.mark.parametrize("folder", ["film", b"caf\xe9".decode(errors="surrogateescape")])
def test_a_recording_read_back_is_the_one_that_was_written(tmp_path, folder):
    tmp_path /= folder
    tmp_path.mkdir()
    begun = recording(tmp_path)
    begun.write()
    recording(tmp_path).check_unchanged(Recording.read(begun.folder / "recording.json"))


@pytest.mark.parametrize(
    "change",
    [
        *({"segment_frames": 0}, {"frames": 0}, {"frames": 10**12}, {"shards": 0}, {"size": [64, 0]}, {"fps": "25/0"}),
        *({"fps": "1e9"}, {"leader_frames": -1}, {"start_s": -1.0}, {"threads": -1}),
    ],
)
def test_a_description_with_numbers_that_cannot_be_is_damaged(tmp_path, change):
    begun = recording(tmp_path)
    begun.write()
    path = begun.folder / "recording.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(OutputError, match="no description of a recording: it is damaged"):
        Recording.read(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": {"cat": 5, "dog": 3}}, "classes.cat: 3 was, 5 is"),
        ({"axes": [{"name": "smile", "index": 2}]}, "axes.smile"),
        ({"models": []}, "networks.hills"),
        ({"looks": {"silver": {"contrast": 1.3}}}, "looks.silver.contrast: 1.2 was, 1.3 is"),
        ({"cascade": {"name": "hills", "base": "hills"}, "models": [{"name": "faces", "base": "faces"}]}, "models: "),
        ({"cascade": {**SHOW["cascade"], "device": "cuda"}}, "cascade.device: cpu was, cuda is"),
        ({"cascade": {**SHOW["cascade"], "threads": 3}}, "cascade.threads: 0 was, 3 is"),
    ],
)
def test_what_would_change_a_frame_is_named(tmp_path, change, named):
    with pytest.raises(ConfigError, match="not the recording that was begun") as fault:
        recording(tmp_path, **change).check_unchanged(recording(tmp_path))
    assert named in fault.value.what


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"size": (64, 32)}, "size: "),
        ({"fps": "24/1"}, "fps: 25/1 was, 24/1 is"),
        ({"frames": 11}, "frames: 10 was, 11 is"),
        ({"start_s": 1.5}, "start_s: 0.0 was, 1.5 is"),
        ({"leader_frames": 2}, "leader_frames: 0 was, 2 is"),
        ({"preset": "png"}, "preset: ffv1 was, png is"),
        ({"segment_frames": 4}, "segment_frames: 5 was, 4 is"),
        ({"threads": 1}, "threads: 0 was, 1 is"),
        ({"take_sha256": "b"}, "take_sha256: "),
        ({"shown": ("hills",)}, "shown: "),
        ({"hashes": {"faces.safetensors": "a"}}, "sha256 of hills.safetensors"),
    ],
)
def test_what_would_change_the_film_is_named(tmp_path, change, named):
    begun = recording(tmp_path)
    with pytest.raises(ConfigError, match="not the recording that was begun") as fault:
        begun.model_copy(update=change).check_unchanged(begun)
    assert named in fault.value.what
    assert begun.model_copy(update=change).digest() != begun.digest()


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"screen": {"fit": "cover"}}, "screen.fit"),
        ({"screen": {"rotate": 90}}, "screen.rotate"),
        ({"walk": {"loop_keyframes": 3}}, "walk.loop_keyframes"),
        ({"params": {"latent/psi": 0.4}}, "params.latent.psi"),
    ],
)
def test_what_would_change_the_show_is_named(tmp_path, table, named):
    with pytest.raises(ConfigError, match="not the recording that was begun") as fault:
        recording(tmp_path, **table).check_unchanged(recording(tmp_path))
    assert named in fault.value.what


def test_a_shard_is_not_made_with_other_files_than_it_was_planned_with(tmp_path):
    for name in ("faces", "hills"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
        (tmp_path / f"{name}.axes.safetensors").write_bytes(b"axes")
    begun = recording(tmp_path)
    planned = begun.model_copy(update={"hashes": making.hashes(begun.session)})
    (tmp_path / "faces.axes.safetensors").write_bytes(b"other axes")
    with pytest.raises(ConfigError, match=r"planned with: faces\.axes\.safetensors\. Put"):
        making.open_renderer(planned)
    (tmp_path / "faces.axes.safetensors").write_bytes(b"axes")
    (tmp_path / "hills.safetensors").write_bytes(b"changed")
    with pytest.raises(ConfigError, match=r"planned with: hills\.safetensors\. Put"):
        making.open_renderer(planned)
    (tmp_path / "hills.safetensors").unlink()
    with pytest.raises(ModelError, match=r"not there"):
        making.open_renderer(planned)


def test_a_shard_is_not_made_by_another_kind_of_device(tmp_path):
    planned = recording(tmp_path)
    assert making.placement(planned.session) == "cpu float32"
    elsewhere = planned.model_copy(update={"placement": "cuda float16"})
    with pytest.raises(ConfigError, match="planned for cuda float16, and here it would be drawn by cpu float32"):
        making.open_renderer(elsewhere)
    with pytest.raises(ConfigError, match="placement: cuda float16 was, cpu float32 is"):
        planned.model_copy(update={"placement": "cpu float32"}).check_unchanged(elsewhere)


def test_what_an_editor_leaves_beside_a_shader_is_no_change(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "shaders_dir", lambda: tmp_path)
    for name in ("look.glsl", "look.glsl~", ".look.glsl.swp", "#look.glsl#"):
        (tmp_path / name).write_text(name)
    assert list(making.hashes(recording(tmp_path, axes=[]).session)) == ["look.glsl"]


def test_axes_are_found_before_the_film_is_begun(tmp_path):
    network = random_weights.stylegan2(1)
    for name in ("faces", "hills"):
        described = checkpoint.describe(network, name=name, licence="made by the test")
        checkpoint.save(tmp_path / f"{name}.safetensors", network.state_dict(), described)
    session = recording(tmp_path, axes=[{"name": "smile", "index": 1, "model": "faces"}]).session
    found = making.hashes(session)
    assert found["faces.axes.safetensors"] == fingerprint(tmp_path / "faces.axes.safetensors")
    assert "hills.axes.safetensors" not in found
    assert making.hashes(session) == found


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OutputError, match="No space left"):
        recording(tmp_path).write()
    assert list(recording(tmp_path).folder.iterdir()) == []
