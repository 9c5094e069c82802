"""What one foreign file may use while it is read."""

from __future__ import annotations

from installation.errors import CheckpointError

# Tied weights are stored once and named twice or three times, and half precision takes twice the room as float32.
REPEATS = 4
SMALL = 16 << 20  # what a file of any size may claim
MAX_STEPS = 1_000_000  # the largest training checkpoints have a tenth
MAX_NUMBER_KEYS = 10_000  # an optimiser numbers its parameters: some hundreds


def limit(stored: int) -> int:
    """How many bytes of weights so many bytes of a file may claim."""
    return max(REPEATS * stored, SMALL)


def as_weights(count: int, itemsize: int) -> int:
    """The bytes of numbers once they are float32 weights; those of 64 bits stay as they are."""
    return count * max(itemsize, 4)


class Budget:
    """Instructions and bytes that one file, with all that is nested in it, may still use."""

    def __init__(self, nbytes: int) -> None:
        self.steps = MAX_STEPS
        self.number_keys = MAX_NUMBER_KEYS
        self.nbytes = nbytes

    def step(self, count: int = 1) -> None:
        """Count instructions, or items that one instruction goes through."""
        self.steps -= count
        if self.steps < 0:
            raise CheckpointError(f"more than {MAX_STEPS:,} instructions")

    def number_key(self) -> None:
        """Count a number that becomes a key or stands in a set. Python's hash of numbers is no secret: enough of them can be chosen so that
        each is held against all before it. Text is hashed with a secret."""
        self.number_keys -= 1
        if self.number_keys < 0:
            raise CheckpointError(f"more than {MAX_NUMBER_KEYS:,} keys that are numbers")

    def numbers(self, count: int, itemsize: int) -> None:
        """Count numbers that the file claims."""
        self.take(as_weights(count, itemsize))

    def take(self, nbytes: int) -> None:
        """Count bytes that are copied or claimed. The same bytes count each time they are used: nothing may outgrow the file."""
        self.nbytes -= nbytes
        if self.nbytes < 0:
            raise CheckpointError("the tensors claim more numbers than the file holds")
