"""The doctor's look at what makes and shows pictures: OpenGL, the GPU, the screens."""

from __future__ import annotations

import re
import sys

from installation.service.doctor.ask import ask, probe
from installation.service.doctor.finding import Finding

_SOFTWARE = re.compile(r"llvmpipe|softpipe|swrast|software|SwiftShader", re.IGNORECASE)
_DRIVER = "Install the graphics card's driver; without one, drawing takes the cores that the networks need"
_LINUX = sys.platform.startswith("linux")


def opengl() -> list[Finding]:
    """A context off screen, as the headless show and stills use it."""
    found, fault = probe("offscreen")
    if found is None:
        fix = (
            "Debian: apt-get install --no-install-recommends libegl1 libgl1"
            if _LINUX
            else "Install the graphics card's driver"
        )
        return [Finding("OpenGL", "fail", f"no OpenGL 3.3 off screen ({fault})", fix)]
    return [_context("OpenGL", f"off screen: {found['renderer']}, OpenGL {found['version']}")]


def _context(topic: str, what: str) -> Finding:
    return (
        Finding(topic, "warn", f"{what} (in software)", _DRIVER)
        if _SOFTWARE.search(what)
        else Finding(topic, "ok", what)
    )


def gpu() -> list[Finding]:
    """The NVIDIA driver's word and torch's, which can differ."""
    query = "--query-gpu=name,driver_version,temperature.gpu"
    driver = ask("nvidia-smi", query, "--format=csv,noheader,nounits")
    cards = [line.strip() for line in driver.out.splitlines() if line.strip()] if driver.code == 0 else []
    found, fault = probe("torch")
    if found is None:
        return [
            Finding(
                "GPU",
                "fail",
                f"torch cannot be loaded ({fault})",
                "Set up again: `make clean setup`, or `pip install --force-reinstall torch`",
            )
        ]
    torch = f"torch {found['version']}"
    if found["device"]:
        what = f"{found['device']}, {found['memory_gib']} GiB; {torch} computes on it with CUDA {found['cuda']}"
        return [Finding("GPU", "ok", what + (f" (name, driver, °C: {'; '.join(cards)})" if cards else ""))]
    if found["mps"]:
        return [Finding("GPU", "ok", f"Apple GPU; {torch} computes on it (MPS)")]
    if cards and found["cuda"] is None:
        return [
            Finding(
                "GPU",
                "warn",
                f"{cards[0]} is there, but {torch} is a build without CUDA",
                "Set up again: `make clean setup`",
            )
        ]
    if cards or found["fault"]:
        what = f"{torch} cannot use the GPU ({found['fault'] or 'no reason given'})"
        return [Finding("GPU", "warn", what, "Update the NVIDIA driver, or install the torch build that fits it")]
    what = f"none: networks run on the processor ({torch})"
    return [Finding("GPU", "warn", what, "Enough for a small cascade; a larger one wants an NVIDIA or an Apple GPU")]


def screens(display: str, windows: bool) -> list[Finding]:
    """Monitors, and a window's GL context. display: as in `examine`. windows: whether a window can be expected at all."""
    if not windows:
        fix = "For the wall: start it from a desktop or X session, or set DISPLAY (for example DISPLAY=:0)"
        return [Finding("display", "warn", "none: the show runs headless, with its preview page", fix)]
    found, fault = probe("window")
    if found is None:
        fix = "Is the display running, and may this user use it?"
        if _LINUX:
            fix += " Debian: apt-get install libx11-6 libxrandr2 libxcursor1 libxi6 libxinerama1"
        return [Finding("display", "fail", f"no window opens on {display or 'this desktop'} ({fault})", fix)]
    monitors = found["monitors"]
    findings = [
        Finding("display", "ok", f"monitor {index}: {_monitor(*monitor)}") for index, monitor in enumerate(monitors)
    ]
    if not monitors:
        findings = [Finding("display", "warn", "no monitor is connected", "Connect one; the show waits for it")]
    return [*findings, _context("display", f"window: {found['renderer']}, OpenGL {found['version']}")]


def _monitor(name: str, width: int, height: int, hz: int) -> str:
    return f"{name}, {width}x{height}, " + (f"{hz} Hz" if hz else "refresh rate unknown")


def blanking(display: str) -> list[Finding]:
    """Whether X turns the screen dark on its own. The show holds that off while its window is up, and no longer."""
    if not re.match(r"[\w.-]*:\d+", display):
        return []
    answer = ask("xset", "-display", display, "q")
    if answer.code != 0:
        return []
    saver = re.search(r"timeout:\s+(\d+)", answer.out)
    faults = []
    if saver and int(saver[1]):
        faults.append(f"the screen saver starts after {saver[1]} s")
    if "DPMS is Enabled" in answer.out:
        faults.append("DPMS may switch the monitor off")
    if not faults:
        return [Finding("blanking", "ok", "the screen stays on")]
    return [Finding("blanking", "warn", " and ".join(faults), "At the wall's log-in, run: xset s off -dpms")]
