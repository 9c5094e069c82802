"""How work that takes long tells how far it is: it calls, its caller draws."""

from __future__ import annotations

from collections.abc import Callable

Counted = Callable[[int, int, str], None]
"""done, of, the name last done."""

Shared = Callable[[str, float | None], None]
"""what, share 0..1 or None where nobody knows."""
