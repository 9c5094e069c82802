"""The doctor: what this machine can do for a show, and one line on what to do about each fault.

Runs in the command's own process and loads neither torch nor GL there: whatever may hang or crash is asked in a child with a
deadline (ask.py, probes.py), all at once, so that everything is said within `LIMIT_S`. It changes nothing on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from installation.errors import ConfigError, DisplayError, EngineError, InstallationError, ModelError, OutputError
from installation.service.doctor import machine, picture
from installation.service.doctor.finding import Finding, Status
from installation.service.doctor.machine import Port

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "DEFAULT_NETWORKS",
    "DEFAULT_PORTS",
    "LIMIT_S",
    "Finding",
    "Port",
    "Status",
    "examine",
    "exit_code",
    "render",
]

LIMIT_S = 10.0

# The default show's: show_configs/portraits.toml.
DEFAULT_NETWORKS = ("portraits", "portraits-x2", "portraits-x4")
DEFAULT_PORTS = (Port("OSC", "udp", 9000), Port("preview", "tcp", 9010))
RING_BYTES = 4 * 3840 * 2160 * 4  # four slots of the largest usual picture

_PHASES: dict[str, type[InstallationError]] = {
    "OpenGL": DisplayError,
    "display": DisplayError,
    "GPU": EngineError,
    "memory": EngineError,
    "models": ModelError,
    "ports": OutputError,
    "disk": OutputError,
    "python": ConfigError,
}

Check = Callable[[], list[Finding]]


def examine(
    *,
    data_dir: Path | None = None,
    films: Path | None = None,
    display: str = "",
    ports: Sequence[Port] = DEFAULT_PORTS,
    ring_bytes: int = RING_BYTES,
) -> list[Finding]:
    """Everything found out, in the order of the table. Never raises.

    data_dir: the models' folder, None = the user's own. films: where the wall puts its films, None = likewise. display: the value of
    WAYLAND_DISPLAY or DISPLAY, "" where there is none (looked at on Linux only). ports: what the show listens on. ring_bytes: shared memory
    it takes.
    """
    windows = bool(display) or not sys.platform.startswith("linux")
    checks: list[tuple[str, Check]] = [
        ("python", machine.python),
        ("OpenGL", picture.opengl),
        ("GPU", picture.gpu),
        ("display", partial(picture.screens, display, windows)),
        ("blanking", partial(picture.blanking, display)),
        ("encoders", machine.encoders),
        ("MIDI", machine.midi),
        ("ports", partial(machine.ports, ports)),
        ("extras", machine.extras),
        ("models", partial(machine.models, data_dir, DEFAULT_NETWORKS)),
        ("disk", partial(machine.disk, data_dir, films)),
        ("memory", partial(machine.memory, ring_bytes)),
        ("processor", machine.processor),
        ("clock", machine.clock),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return [finding for found in pool.map(_guarded, checks) for finding in found]


def _guarded(check: tuple[str, Check]) -> list[Finding]:
    topic, look = check
    try:
        return look()
    except TimeoutError as fault:
        what = f"could not be examined ({fault})"
        return [Finding(topic, "warn", what, "Ask again while nothing else runs; if it stays so, its driver hangs")]
    except Exception as fault:
        return [
            Finding(topic, "warn", f"could not be examined ({type(fault).__name__}: {fault})", "Look into it by hand")
        ]


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing failed (warnings do not count), else the exit code of the first failed topic's phase (errors.py)."""
    failed = next((finding for finding in findings if finding.status == "fail"), None)
    return _PHASES.get(failed.topic, InstallationError).exit_code if failed else 0


def render(findings: Iterable[Finding]) -> Table:
    """A table for the terminal: topic, mark, what was found and what to do."""
    from rich.table import Table
    from rich.text import Text

    marks = {"ok": ("ok", "green"), "warn": ("note", "yellow"), "fail": ("FAULT", "bold red")}
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("topic", "mark"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", overflow="fold")
    previous = ""
    for finding in findings:
        mark, colour = marks[finding.status]
        found = Text(finding.what)
        if finding.fix:
            found.append(f"\n→ {finding.fix}", style=colour)
        table.add_row(
            Text(finding.topic if finding.topic != previous else "", style="bold"), Text(mark, style=colour), found
        )
        previous = finding.topic
    return table
