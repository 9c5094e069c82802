"""The doctor's look at everything round the picture: packages, codecs, MIDI, ports, models, room, cores, the clock."""

from __future__ import annotations

import errno
import os
import platform
import re
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from installation import machine
from installation.errors import install_extra
from installation.service.doctor.ask import ask, probe
from installation.service.doctor.finding import Finding, Status

MIN_MEMORY = 4 * 2**30
MIN_DISK = 2**30
MIN_FILMS = 10 * 2**30  # an hour of the wall is some gigabytes
_GIB = 2**30

# What a show is slower or poorer without; the rest of the requirements is checked as well, but not listed when it is there.
_NAMED = ("torch", "moderngl", "glfw", "numpy")
_ENCODERS = {
    "libx264": "H.264",
    "libx265": "H.265",
    "libsvtav1": "AV1",
    "prores_ks": "ProRes",
    "dnxhd": "DNxHR",
    "hap": "Hap",
    "ffv1": "FFV1",
}
# MIDI and record have rows of their own.
_EXTRAS = {
    "upscalers": "upscalers of one's own",
    "onnx": "generators in .onnx files",
    "farm": "a film in parts on a Ray cluster",
    "data": "the atelier: choosing and cutting pictures",
    "train": "the atelier: films and curves of a training",
    "eval": "the atelier: trained features for the judge",
}
_GET_FFMPEG = install_extra("record")


@dataclass(frozen=True, slots=True)
class Port:
    """What listens there: `OSC` on 9000/udp."""

    what: str
    protocol: Literal["udp", "tcp"]
    number: int
    host: str = "127.0.0.1"

    def __str__(self) -> str:
        return f"{self.what} {self.number}/{self.protocol}"


def python() -> list[Finding]:
    """Python and the packages a show needs."""
    missing, versions = [], []
    for name in _requirements():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if name in _NAMED:
            versions.append(f"{name} {version}")
    if missing:
        fix = f"{sys.executable} -m pip install {' '.join(missing)}"
        return [Finding("python", "fail", f"packages are missing: {', '.join(missing)}", fix)]
    return [
        Finding(
            "python", "ok", f"{platform.python_version()} on {platform.platform(terse=True)}; {', '.join(versions)}"
        )
    ]


def extras() -> list[Finding]:
    """Which optional parts of the program have their packages. None is said to be missing where pip knows nothing of the program."""
    missing = {name: [p for p in _requirements(name) if not _installed(p)] for name in _EXTRAS if _requirements(name)}
    have = [name for name, packages in missing.items() if not packages]
    findings = [Finding("extras", "ok", ", ".join(have))] if have else []
    for name, packages in missing.items():
        if packages:
            what = f"{name} ({_EXTRAS[name]}) is not installed: {', '.join(packages)}"
            fix = f"If the show is to use it: {install_extra(name)}"
            findings.append(Finding("extras", "warn", what, fix))
    return findings


def _installed(package: str) -> bool:
    return bool(machine.version(package))


def _requirements(extra: str = "") -> list[str]:
    """Names of the packages that the program needs, or that one of its extras does."""
    try:
        rows = metadata.requires("installation") or []
    except metadata.PackageNotFoundError:  # run from a folder, never installed
        return [] if extra else list(_NAMED)
    wanted = [
        row for row in rows if (re.search(rf"""extra == ['"]{extra}['"]""", row) if extra else "extra ==" not in row)
    ]
    return [re.split(r"[^\w.-]", row, maxsplit=1)[0] for row in wanted]


def encoders() -> list[Finding]:
    """The ffmpeg that a recording takes, the package imageio-ffmpeg's or else the system's, and what it can write."""
    program = None
    if find_spec("imageio_ffmpeg"):
        from imageio_ffmpeg import get_ffmpeg_exe

        try:
            program = get_ffmpeg_exe()
        except RuntimeError:
            pass  # a wheel without the binary
    program = program or shutil.which("ffmpeg")
    if program is None:
        return [Finding("encoders", "warn", "no ffmpeg: stills can be written, video cannot", _GET_FFMPEG)]
    answer = ask(program, "-hide_banner", "-encoders")
    if answer.code != 0:
        return [Finding("encoders", "warn", f"{program} does not run ({answer.last_word})", _GET_FFMPEG)]
    words = set(answer.out.split())
    have = [label for name, label in _ENCODERS.items() if name in words]
    # The encoder is part of every build, but runs on the card.
    have += ["NVENC"] if "h264_nvenc" in words and ask("nvidia-smi", "-L").code == 0 else []
    return [Finding("encoders", "ok", f"{', '.join(have) or 'none that a recording uses'} ({program})")]


def midi() -> list[Finding]:
    """The extra, the system's MIDI, and the inputs."""
    missing = [
        package for package, module in (("mido", "mido"), ("python-rtmidi", "rtmidi")) if find_spec(module) is None
    ]
    if missing:
        fix = f"To play the show from MIDI: {install_extra('midi')}"
        return [Finding("MIDI", "warn", f"not installed: {', '.join(missing)}", fix)]
    found, fault = probe("midi")
    if found is None:
        if "libasound" in fault:
            return [
                Finding(
                    "MIDI", "warn", "a system library is missing (libasound.so.2)", "Debian: apt-get install libasound2"
                )
            ]
        fix = (
            "Load it: `sudo modprobe snd-seq`; a container has none unless it is given /dev/snd"
            if sys.platform.startswith("linux")
            else ""
        )
        return [
            Finding("MIDI", "warn", f"this system has no MIDI ({fault})", fix or "Look at the system's MIDI settings")
        ]
    inputs = found["inputs"]
    return [Finding("MIDI", "ok", f"inputs: {', '.join(inputs)}" if inputs else "ready; no controller is plugged in")]


def ports(wanted: Sequence[Port]) -> list[Finding]:
    """Whether each port is free, and who has it if not."""
    findings = []
    for port in wanted:
        fault = _taken(port)
        if fault is None:
            findings.append(Finding("ports", "ok", f"{port} is free"))
        else:
            owner = _owner(port)
            what = (
                f"{port} is in use" + (f" by {owner}" if owner else "")
                if fault == "taken"
                else f"{port} on {port.host}: {fault}"
            )
            findings.append(
                Finding(
                    "ports",
                    "fail",
                    what,
                    "Is a show running already? Else end that program, or choose another port in the show",
                )
            )
    return findings


def _taken(port: Port) -> str | None:
    """None where the port can be bound, "taken" where another has it, else the system's words."""
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as trial:
            if kind == socket.SOCK_STREAM and os.name == "posix":
                # Connections that are only fading away do not hold the port; on Windows the option means something else.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((port.host, port.number))
            if kind == socket.SOCK_STREAM:
                trial.listen(1)
    except OSError as fault:
        return "taken" if fault.errno in (98, 48, 10048, 10013) else (fault.strerror or str(fault))
    return None


def _owner(port: Port) -> str:
    """Name and pid of the process that has the port; "" where the system does not tell (other users' processes, not Linux)."""
    wanted = {
        row.split()[9] for row in _sockets(port.protocol) if int(row.split()[1].rpartition(":")[2], 16) == port.number
    }
    for entry in Path("/proc").glob("[0-9]*/fd/*") if wanted else ():
        try:
            target = os.readlink(entry)
        except OSError:  # ended meanwhile, or another user's
            continue
        if target.startswith("socket:[") and target[8:-1] in wanted:
            pid = entry.parts[2]
            return f"{Path('/proc', pid, 'comm').read_text().strip()} (pid {pid})"
    return ""


def _sockets(protocol: str) -> list[str]:
    rows: list[str] = []
    for name in (protocol, f"{protocol}6"):
        table = Path("/proc/net", name)
        rows += table.read_text().splitlines()[1:] if table.is_file() else []
    # State 0A is a listening TCP socket, 07 a bound UDP one; the rest are conversations.
    return [row for row in rows if row.split()[3] in ("0A", "07")]


def models(folder: Path | None, networks: Sequence[str]) -> list[Finding]:
    """Which of the wanted networks are on this machine, and which files are damaged."""
    from installation.errors import InstallationError
    from installation.models.catalogue import CATALOGUE
    from installation.models.library import installed
    from installation.resources import checkpoints_dir

    damaged: list[InstallationError] = []
    names = {entry.name for entry in installed([checkpoints_dir()], data_dir=folder, report=damaged.append)}
    findings = [
        Finding("models", "fail", f"{fault.where}: {fault.what}", fault.fix or "Remove the file and add it again")
        for fault in damaged
    ]
    for name in networks:
        if name in names:
            findings.append(Finding("models", "ok", f"{name} is here"))
        elif name not in CATALOGUE:
            what = f"{name} comes with the program and is not in {checkpoints_dir()}"
            findings.append(Finding("models", "fail", what, "Install the program again"))
        else:
            findings.append(
                Finding("models", "warn", f"{name} is not here; `run` fetches it", f"installation models add {name}")
            )
    return findings


def disk(folder: Path | None, films: Path | None) -> list[Finding]:
    """The data folder and the films' folder: may they be written, and is there room. A show can do without films."""
    from platformdirs import user_videos_path

    from installation.models.library import models_dir

    films = films or user_videos_path() / "installation"
    return [
        _room(models_dir(folder), MIN_DISK, "fail", "models and takes need it", "XDG_DATA_HOME"),
        _room(
            films, MIN_FILMS, "warn", "films need it; the wall stops filming before the disk is full", "XDG_VIDEOS_DIR"
        ),
    ]


def _room(wanted: Path, least: int, refused: Status, why: str, elsewhere: str) -> Finding:
    """elsewhere: the variable that names another place."""
    there = next(path for path in (wanted, *wanted.parents) if path.is_dir())
    try:
        # Tried and not asked: a read-only disk lets root's permissions through and refuses all the same.
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as fault:
        what = f"{wanted} cannot be written ({fault.strerror or fault}" + (f" in {there})" if there != wanted else ")")
        return Finding("disk", refused, what, f"{_right(wanted, fault)}, or name another place: {elsewhere}=FOLDER")
    if free < least:
        return Finding("disk", "warn", f"only {free / _GIB:.1f} GiB free for {wanted}", f"Make room: {why}")
    return Finding("disk", "ok", f"{free / _GIB:.0f} GiB free for {wanted}")


def _right(wanted: Path, fault: OSError) -> str:
    """How this user may get to write the folder. Never by taking a folder above it, which may be everybody's."""
    if fault.errno not in (errno.EACCES, errno.EPERM):
        return "Put right what it says"
    if os.name != "posix":
        return "Give this user the right to write there"
    path, user = shlex.quote(str(wanted)), '"$(id -un)"'
    if wanted.is_dir():
        return f"Make it yours: sudo chown -R {user} {path}"
    return f"Make it: sudo install -d -o {user} {path}"


def memory(ring_bytes: int) -> list[Finding]:
    """Main memory, and the shared memory that pictures cross from the engine to the wall in."""
    findings = []
    total = machine.total_memory()
    if total is not None and total < MIN_MEMORY:
        findings.append(
            Finding("memory", "warn", f"{total / _GIB:.1f} GiB", "4 GiB are the least for a show; close other programs")
        )
    elif total is not None:
        findings.append(Finding("memory", "ok", f"{total / _GIB:.0f} GiB"))
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        what = f"{free / 2**20:.0f} MiB of shared memory free; a 4K picture ring takes {ring_bytes / 2**20:.0f} MiB"
        fix = "Enlarge it: `mount -o remount,size=1g /dev/shm`; in a container: `docker run --shm-size=1g`"
        findings.append(
            Finding("memory", "ok" if free >= ring_bytes else "warn", what, "" if free >= ring_bytes else fix)
        )
    return findings


def processor() -> list[Finding]:
    """Cores this process may use: fewer than the machine has, in a container."""
    cores = float(machine.cores())
    quota = machine.container_limit("cpu.max")
    if len(quota) == 2 and quota[0].isdecimal():
        cores = min(cores, int(quota[0]) / int(quota[1]))
    what = f"{cores:g} cores, {platform.machine()}"
    if cores < 2:
        return [Finding("processor", "warn", what, "Two are the least: one for the wall, one for the engine")]
    return [Finding("processor", "ok", what)]


def clock() -> list[Finding]:
    """Whether the time of day is kept right from the network, where systemd knows; cues go by it, files and the log are named by it."""
    answer = ask("timedatectl", "show", "--property=NTPSynchronized", "--value", deadline_s=3.0)
    if answer.out.strip() == "no":
        return [
            Finding(
                "clock",
                "warn",
                "the time of day is not kept by the network",
                "A show's cues go by it: timedatectl set-ntp true",
            )
        ]
    return [Finding("clock", "ok", "kept by the network")] if answer.out.strip() == "yes" else []
