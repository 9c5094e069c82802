"""A real supervisor over the two stubs. Arguments: base folder, wall mode, engine mode, policy as JSON, notify address or ""."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from installation.service.notify import Notify
from installation.service.policy import Policy
from installation.service.runfolder import prepare
from installation.service.store import Store
from installation.service.supervisor import Supervisor


def command(role: str, mode: str, folder: Path) -> list[str]:
    """Mode "exit:N" ends at once with code N, before any import."""
    if mode.startswith("exit:"):
        return [sys.executable, "-S", "-c", f"raise SystemExit({int(mode[5:])})"]
    return [sys.executable, str(Path(__file__).parent / f"{role}.py"), str(folder), mode]


def main(base: Path, wall: str, engine: str, policy: str, address: str) -> int:
    logging.basicConfig(format="%(message)s")
    folder, board, notes = prepare(width=32, height=32, bases=[base])
    print(json.dumps({"folder": str(folder.path), "notes": notes}), flush=True)
    modes = {"wall": wall, "engine": engine}
    commands = {role: command(role, modes[role], folder.path) for role in modes}
    settings = json.loads(policy)
    if "backoff_s" in settings:
        settings["backoff_s"] = tuple(settings["backoff_s"])
    store = Store("stub", base / "state")
    return Supervisor(folder, board, commands, Policy(**settings), store=store, notify=Notify(address)).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:6]))
