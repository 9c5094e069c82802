"""The FFmpeg program: where it is, and whether it can make a preset on this machine.

It is a GPL program and is only ever run as a process of its own, never loaded into this one.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache
from importlib.util import find_spec

from installation.errors import OutputError, install_extra
from installation.output.video.presets import Preset

_PROBE_S = 60.0
_PROBE_SIZE = (256, 144)  # NVENC and DNxHR refuse much smaller pictures


@lru_cache(maxsize=1)
def program() -> str:
    """Its path: the one of the package imageio-ffmpeg, or else the system's. OutputError where there is none."""
    if find_spec("imageio_ffmpeg"):
        from imageio_ffmpeg import get_ffmpeg_exe

        try:
            return get_ffmpeg_exe()
        except RuntimeError:
            pass  # a wheel without the binary; the system's may be there
    if found := shutil.which("ffmpeg"):
        return found
    fix = f"Install the extra: {install_extra('record')}"
    raise OutputError("no ffmpeg here: video cannot be written", where="ffmpeg", fix=fix)


@lru_cache(maxsize=1)
def version() -> str:
    """Its first line's version, such as "9.0.2"."""
    answer = subprocess.run([program(), "-version"], capture_output=True, text=True, check=False, timeout=_PROBE_S)
    words = answer.stdout.split()
    return words[2] if len(words) > 2 else "unknown"


@lru_cache(maxsize=64)
def probe(preset: Preset) -> str:
    """Why this machine cannot make the preset, found by encoding one frame; "" when it can.

    A list of encoders would not do: NVENC is in every list and works only beside an NVIDIA driver.
    """
    pixels = "rgba" if preset.depth == 8 else "rgb48le"
    source = f"color=black:size={_PROBE_SIZE[0]}x{_PROBE_SIZE[1]}:rate=25,format={pixels}"
    command = [
        program(),
        "-hide_banner",
        "-nostdin",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-frames:v",
        "1",
    ]
    command += ["-vf", ",".join(preset.filters), "-c:v", preset.encoder, *preset.options, "-f", "null", "-"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"ffmpeg does not run ({error})"
    return "" if answer.returncode == 0 else reason(answer.stderr.splitlines(), answer.returncode)


def require(preset: Preset) -> None:
    """OutputError where this machine cannot make the preset."""
    if fault := probe(preset):
        raise OutputError(
            f"this machine cannot make it: {fault}",
            where=preset.name,
            fix="Choose another preset: `installation record --presets` says which work here",
        )


def reason(lines: list[str], code: int) -> str:
    """What FFmpeg died of, in one line, from its messages and exit code: the first message is the cause."""
    text = next((line.strip() for line in lines if line.strip()), "")
    if any("No space left on device" in line for line in lines):
        text = "no space left on the disk"
    elif any("File too large" in line for line in lines):
        text = "the file became larger than the system allows"
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{text[:300]} ({how})" if text else how
