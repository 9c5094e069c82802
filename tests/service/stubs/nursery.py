"""Forks one store writer a line of input, tells its process id, and "dead" when it is. Argument: folder of the store."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from installation.service.store import Store


def write_for_ever(folder: Path) -> None:
    """States are one digit 20 000 times, pictures one value: a mixture shows."""
    store = Store("stub", folder)
    known = store.load_state()
    count = int(known[:1]) if known else 0
    while True:
        count = (count + 1) % 10
        store.save_state(b"%d" % count * 20_000)
        store.save_picture(np.full((64, 64, 4), count, np.uint8))


for _ in sys.stdin:
    child = os.fork()
    if not child:
        write_for_ever(Path(sys.argv[1]))
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
