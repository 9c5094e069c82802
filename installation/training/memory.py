"""What is said where memory ends: by torch in many ways, by us in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from installation.errors import EngineError

# On whatever device; only some of it comes as a class of its own.
_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def ran_out(error: BaseException) -> bool:
    """Whether it says that memory does not suffice."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


@contextmanager
def enough_memory(folder: Path) -> Iterator[None]:
    """EngineError where it does not suffice. folder: the run's; what it holds stays."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        fix = (
            "End what else uses it, or begin another run with a smaller batch or config. A state that was saved is kept"
        )
        raise EngineError("memory does not suffice for this training", where=str(folder), fix=fix) from error
