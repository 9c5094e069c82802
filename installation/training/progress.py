"""How work that takes long tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

# (what is being done; its share that is done, 0..1, or None where nobody knows).
Shared = Callable[[str, float | None], None]
