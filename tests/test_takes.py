"""Takes and the networks they were played with, on real files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from installation import opening, takes
from installation.errors import OutputError, TakeError
from installation.show.config import RecordConfig
from tests.show.shows import make_show


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "nets" / "base.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights" * 100)
    return path


@pytest.fixture
def take(tmp_path: Path, network: Path) -> Path:
    folder = takes.begin(tmp_path / "evening", show(network), {str(network): network})
    assert folder is not None
    return folder


def show(network: Path):
    return make_show(cascade={"base": str(network)})


def test_the_take_finds_the_very_networks_it_was_played_with(take: Path, network: Path) -> None:
    header = takes.header(take)
    assert header.show == show(network)
    assert takes.networks(header) == {str(network): network}


def test_every_network_that_the_show_may_bring_to_the_wall_is_marked_once(tmp_path: Path, network: Path) -> None:
    other = network.with_name("other.safetensors")
    other.write_bytes(b"other")
    models = [{"name": "second", "base": str(other)}, {"name": "third", "base": str(network)}]
    both = make_show(cascade={"base": str(network)}, models=models)
    folder = takes.begin(tmp_path / "evening", both, {str(network): network, str(other): other})
    assert folder is not None
    assert takes.networks(takes.header(folder)) == {str(network): network, str(other): other}


def test_a_network_that_was_never_on_the_wall_may_be_gone(tmp_path: Path, network: Path) -> None:
    other = network.with_name("other.safetensors")
    other.write_bytes(b"other")
    both = make_show(cascade={"base": str(network)}, models=[{"name": "second", "base": str(other)}])
    folder = takes.begin(tmp_path / "evening", both, {str(network): network, str(other): other})
    assert folder is not None
    other.unlink()
    assert takes.networks(takes.header(folder), {both.cascade.name}) == {str(network): network}
    with pytest.raises(TakeError, match="is not on this machine"):
        takes.networks(takes.header(folder), {"second"})


def test_the_axes_beside_a_network_are_marked_and_others_are_said(tmp_path: Path, network: Path, caplog) -> None:
    kept = network.with_name("base.axes.safetensors")
    kept.write_bytes(b"axes")
    faders = make_show(cascade={"base": str(network)}, axes=[{"name": "smile", "index": 0}])
    folder = takes.begin(tmp_path / "evening", faders, {str(network): network})
    assert folder is not None
    assert takes.networks(takes.header(folder)) == {str(network): network}
    assert not caplog.records
    kept.write_bytes(b"other axes")
    takes.networks(takes.header(folder))
    assert "not the axes of that evening" in caplog.text


def test_a_take_is_never_written_over(take: Path, network: Path) -> None:
    before = (take / "take.json").read_bytes()
    later = [takes.begin(take, show(network), {str(network): network}) for _ in range(2)]
    assert later == [take.with_name("evening-2"), take.with_name("evening-3")]
    assert (take / "take.json").read_bytes() == before


@pytest.mark.parametrize("name", [".", "..", "inside/.."])
def test_a_take_in_the_folder_we_are_in_is_never_written_over_either(tmp_path, network, monkeypatch, name) -> None:
    inside = tmp_path / "evening" / "inside"
    inside.mkdir(parents=True)
    where = {".": inside, "..": inside, "inside/..": tmp_path / "evening"}[name]
    wanted = (where / name).resolve()
    (wanted / "take.json").touch()
    monkeypatch.chdir(where)
    later = takes.begin(Path(name), show(network), {str(network): network})
    assert later == wanted.with_name(f"{wanted.name}-2")
    assert (wanted / "take.json").read_bytes() == b""


@pytest.mark.parametrize("change", ["same size", "other size"])
def test_a_changed_network_is_named(take: Path, network: Path, change: str) -> None:
    network.write_bytes(b"WEIGHTS" * 100 if change == "same size" else b"weights")
    with pytest.raises(TakeError, match="has changed since the take was played") as caught:
        takes.networks(takes.header(take))
    assert caught.value.where == str(network)
    assert "Put the file of that evening back" in caught.value.fix


def test_a_missing_network_is_named_and_what_to_do(take: Path, network: Path) -> None:
    network.unlink()
    with pytest.raises(TakeError, match="is not on this machine") as caught:
        takes.networks(takes.header(take))
    assert str(network) in str(caught.value)
    assert "Copy its file into" in caught.value.fix


def test_a_network_of_the_catalogue_is_brought_by_a_command() -> None:
    mark = takes.NetworkMark("dcgan-faces", "/no/such/dcgan-faces.safetensors", 1, "0" * 64)
    with pytest.raises(TakeError, match=r"models add dcgan-faces|has changed"):
        takes.networks(takes.Header(make_show(), (mark,)))


@pytest.mark.parametrize("file", ["/etc/passwd", "../../etc/passwd", "/dev/zero", "relative.safetensors", "x" * 4000])
def test_no_file_but_a_checkpoint_is_opened_for_a_take(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "fingerprint", lambda path: pytest.fail(f"{path} was read"))
    mark = takes.NetworkMark("../../../etc/passwd", file, 0, "0" * 64)
    with pytest.raises(TakeError, match="is not on this machine"):
        takes.networks(takes.Header(make_show(), (mark,)))


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, network: Path) -> None:
    with pytest.raises(OutputError, match="holds other files"):
        takes.begin(network.parent, show(network), {str(network): network})
    with pytest.raises(OutputError, match="no take can be written there"):
        takes.begin(network, show(network), {str(network): network})
    assert [path.name for path in network.parent.iterdir()] == [network.name]


def test_a_full_disk_does_not_keep_the_show_from_starting(
    tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert takes.begin(tmp_path / "evening", show(network), {str(network): network}) is None
    assert "No space left on device" in caplog.text
    assert not list((tmp_path / "evening").iterdir())


def test_a_take_without_a_moving_picture_has_nothing_to_play(take: Path, network: Path) -> None:
    with pytest.raises(TakeError, match="before its first picture"):
        takes.checked(take, show(network))


def test_a_take_is_filmed_with_the_stages_beside_the_show_that_was_played(tmp_path: Path, network: Path) -> None:
    played = show(network).model_copy(update={"record": RecordConfig(stages=("nets/x4.safetensors", "by-name"))})
    folder = takes.begin(tmp_path / "takes" / "evening", opening.anchored(played, tmp_path), {str(network): network})
    assert folder is not None
    stages = takes.header(folder).show.record.stages
    assert stages == (str(tmp_path / "nets" / "x4.safetensors"), "by-name")
