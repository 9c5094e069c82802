"""X servers of the tests' own: Xvfb for one monitor, Xorg's dummy driver for two; and a hand on their keyboard.

Each is started with `-displayfd`, so no two runs fight over a display number, and is ended by its process id whatever happens.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

START_S = 60.0


@dataclass(frozen=True, slots=True)
class XServer:
    """A running server. display: ":7". folder: its own temporary folder."""

    display: str
    process: subprocess.Popen[bytes]
    folder: Path

    def environment(self) -> dict[str, str]:
        """This process's environment with DISPLAY set to the server, and nothing of another desktop session."""
        keep = {k: v for k, v in os.environ.items() if k not in ("WAYLAND_DISPLAY", "XDG_SESSION_TYPE", "XAUTHORITY")}
        return {**keep, "DISPLAY": self.display}

    def xrandr(self, *arguments: str) -> str:
        """Run xrandr on it; its output."""
        done = subprocess.run(
            ["xrandr", *arguments], env=self.environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def unplug(self) -> None:
        """Take Xvfb's only monitor away. The screen keeps its size: xrandr's own idea, 0 x 0, is refused by the server."""
        size = self.xrandr().split("current ")[1].split(",")[0].replace(" ", "")
        self.xrandr("--fb", size, "--output", "screen", "--off")

    def plug(self) -> None:
        """Give it back, in its own mode."""
        self.xrandr("--output", "screen", "--auto")

    def screenshot(self) -> np.ndarray:
        """The whole screen, uint8 [H, W, 3], read from the server's own memory (Xvfb only; XWD format, 32 bits a pixel)."""
        data = (self.folder / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        header_size, width, height, colours = int(header[0]), int(header[4]), int(header[5]), int(header[19])
        bits_per_pixel, bytes_per_line = int(header[11]), int(header[12])
        assert (int(header[1]), bits_per_pixel) == (7, 32)
        rows = np.frombuffer(data, np.uint8, height * bytes_per_line, header_size + 12 * colours)
        return rows.reshape(height, bytes_per_line)[:, : width * 4].reshape(height, width, 4)[..., 2::-1].copy()

    def end(self) -> None:
        """End it now. Its clients die with it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)


# The shell ends the server when its standard input closes: also when Xlib has just ended the test process on the spot.
_KEEPER = '"$@" </dev/null & server=$!; read -r line; kill $server; wait $server'


@contextmanager
def _serve(command: list[str], folder: Path) -> Iterator[XServer]:
    # The reading end stays open as long as the server: closing it early kills the server with SIGPIPE.
    reader, writer = os.pipe()
    try:
        with (folder / "log").open("wb") as output:
            server_command = [*command, "-displayfd", str(writer), "-nolisten", "tcp", "-noreset"]
            process = subprocess.Popen(
                ["sh", "-c", _KEEPER, "keeper", *server_command],
                pass_fds=[writer],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        os.close(writer)
        try:
            yield XServer(f":{_display_number(reader, folder)}", process, folder)
        finally:
            XServer("", process, folder).end()
    finally:
        os.close(reader)


def _display_number(reader: int, folder: Path) -> int:
    text, deadline = b"", time.monotonic() + START_S
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(reader, 32) if ready else b""
        assert chunk, f"the X server did not start: {(folder / 'log').read_text(errors='replace')[-2000:]}"
        text += chunk
    return int(text)


@contextmanager
def xvfb(width: int, height: int, *options: str) -> Iterator[XServer]:
    """Xvfb with one monitor named "screen"."""
    with tempfile.TemporaryDirectory(prefix="xvfb-") as name:
        folder = Path(name)
        screen = ["-screen", "0", f"{width}x{height}x24", "-fbdir", name]
        with _serve(["Xvfb", *screen, *options], folder) as server:
            yield server


_DUMMY = """
Section "ServerFlags"
    Option "AutoAddDevices" "false"
    Option "AutoAddGPU" "false"
EndSection
Section "Device"
    Identifier "card"
    Driver "dummy"
    VideoRam 65536
EndSection
Section "Monitor"
    Identifier "monitor"
    HorizSync 5-1000
    VertRefresh 5-200
EndSection
Section "Screen"
    Identifier "screen"
    Device "card"
    Monitor "monitor"
    DefaultDepth 24
    SubSection "Display"
        Depth 24
        Modes "800x600"
        Virtual 1920 1080
    EndSubSection
EndSection
"""


def missing_for_two_monitors() -> str:
    """Why `xorg_two_monitors` cannot run here; empty when it can."""
    if shutil.which("Xorg") is None:
        return "Xorg is not installed (xserver-xorg-core)"
    if not list(Path("/usr/lib").glob("**/xorg/modules/drivers/dummy_drv.so")):
        return "Xorg's dummy driver is not installed (xserver-xorg-video-dummy)"
    if os.geteuid() != 0:
        return "Xorg with the dummy driver wants root"
    return ""


@contextmanager
def xorg_two_monitors() -> Iterator[XServer]:
    """Xorg with DUMMY0, 800 x 600 at +0+0, and DUMMY1, 640 x 480 at +800+0, both at 60 Hz."""
    with tempfile.TemporaryDirectory(prefix="xorg-") as name:
        folder = Path(name)
        (folder / "xorg.conf").write_text(_DUMMY)
        # A seat of its own: the server leaves the machine's consoles and input devices alone.
        files = ["-config", str(folder / "xorg.conf"), "-logfile", str(folder / "xorg.log")]
        with _serve(["Xorg", *files, "-seat", "seat-test", "-novtswitch", "-sharevts"], folder) as server:
            server.xrandr("--fb", "1440x600")
            server.xrandr("--addmode", "DUMMY1", "640x480")
            server.xrandr("--output", "DUMMY1", "--mode", "640x480", "--pos", "800x0")
            server.xrandr()  # asks the driver, which only now calls DUMMY1 connected
            yield server


class Hand:
    """Presses keys and closes windows of an X server as a person would (XTEST, and a window manager's close message)."""

    def __init__(self, display: str) -> None:
        self._x11 = ctypes.CDLL("libX11.so.6")
        self._xtst = ctypes.CDLL("libXtst.so.6")
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._x11.XStringToKeysym.restype = ctypes.c_ulong
        self._x11.XInternAtom.restype = ctypes.c_ulong
        self._display = ctypes.c_void_p(self._x11.XOpenDisplay(display.encode()))
        assert self._display.value, f"no X server at {display}"

    def press(self, *keysyms: str) -> None:
        """Press and release keys by their X names: "space", "Left", "Escape", "n"."""
        for keysym in keysyms:
            code = self._x11.XKeysymToKeycode(self._display, ctypes.c_ulong(self._x11.XStringToKeysym(keysym.encode())))
            for down in (1, 0):
                self._xtst.XTestFakeKeyEvent(self._display, code, down, ctypes.c_ulong(0))
        self._x11.XSync(self._display, 0)

    def close_window(self, window: int) -> None:
        """Send WM_DELETE_WINDOW, as the close button of a window manager does."""
        protocols, delete = (
            self._x11.XInternAtom(self._display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
        )
        # An XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data.
        words = (ctypes.c_long * 24)(33, 0, 1, 0, window, protocols, 32, delete, 0)
        self._x11.XSendEvent(self._display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(words))
        self._x11.XSync(self._display, 0)

    def release(self) -> None:
        """Close the connection; must happen while the server still lives."""
        self._x11.XCloseDisplay(self._display)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Ask until true or the time is over, which is long because machines may be busy; whether it became true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
