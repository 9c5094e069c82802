"""OSC address patterns (`?` `*` `[a-z]` `[!a-z]` `{this,that}`), matched without regular expressions or backtracking.

A pattern is cut into tokens once. Matching keeps the set of all positions that the tokens so far can have reached in
the address, as a bit mask, so the cost is at most tokens x address length whatever the pattern: the thirty-star address
that stops a backtracking matcher for ever costs nothing here. The number of wildcards and of matches is limited too,
so that one packet cannot ask for unbounded work. No wildcard crosses a `/`; there is no `//`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_WILDCARDS = 8
MAX_MATCHES = 64

_SPECIAL = frozenset("?*[]{}")


class PatternError(ValueError):
    """The pattern is malformed or passes a limit."""


@dataclass(frozen=True, slots=True)
class _Star:
    """Any run of characters inside one part, the empty one included."""


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One character in `chars` (or, negated, not in it); never `/`."""

    chars: frozenset[str]
    negated: bool


@dataclass(frozen=True, slots=True)
class _Words:
    """One of the words; plain text is a list of one."""

    words: tuple[str, ...]


_STAR = _Star()
_ANY = _OneOf(frozenset(), True)

Token = _Star | _OneOf | _Words


def is_pattern(address: str) -> bool:
    """Whether the address holds a character that patterns reserve."""
    return not _SPECIAL.isdisjoint(address)


def tokenise(pattern: str, max_wildcards: int = MAX_WILDCARDS) -> tuple[Token, ...]:
    """The pattern's tokens. PatternError when malformed or with more than `max_wildcards` wildcards."""
    tokens: list[Token] = []
    index, size, wildcards = 0, len(pattern), 0
    while index < size:
        char = pattern[index]
        if char not in _SPECIAL:
            start = index
            while index < size and pattern[index] not in _SPECIAL:
                index += 1
            tokens.append(_Words((pattern[start:index],)))
            continue
        wildcards += 1
        if wildcards > max_wildcards:
            raise PatternError(f"more than {max_wildcards} wildcards")
        if char == "*":
            tokens.append(_STAR)
            index += 1
        elif char == "?":
            tokens.append(_ANY)
            index += 1
        elif char == "[" or char == "{":
            close = pattern.find("]" if char == "[" else "}", index)
            if close < 0:
                raise PatternError(f"{char!r} is not closed")
            inside = pattern[index + 1 : close]
            if not _SPECIAL.isdisjoint(inside):
                raise PatternError(f"a wildcard inside {char!r}")
            tokens.append(_one_of(inside) if char == "[" else _Words(tuple(inside.split(","))))
            index = close + 1
        else:
            raise PatternError(f"{char!r} without a beginning")
    return tuple(tokens)


def _one_of(inside: str) -> _OneOf:
    negated = inside.startswith("!")
    if negated:
        inside = inside[1:]
    if not inside:
        raise PatternError("an empty [ ]")
    chars: set[str] = set()
    index = 0
    while index < len(inside):
        low = high = inside[index]
        if inside[index + 1 : index + 2] == "-" and index + 2 < len(inside):
            high = inside[index + 2]
            index += 2
        # Addresses are ASCII, so a range holds at most 128 characters.
        chars.update(map(chr, range(ord(low), min(ord(high), 127) + 1)))
        index += 1
    return _OneOf(frozenset(chars), negated)


def matches(tokens: tuple[Token, ...], address: str) -> bool:
    """Whether the tokens match the whole address."""
    reached = 1  # Bit n: the tokens so far can end before character n.
    for token in tokens:
        after = 0
        if isinstance(token, _Star):
            open_here = 0
            for position, char in enumerate(address):
                open_here |= reached >> position & 1
                after |= open_here << position
                if char == "/":
                    open_here = 0
            after |= (open_here | reached >> len(address) & 1) << len(address)
        elif isinstance(token, _OneOf):
            for position, char in enumerate(address):
                if reached >> position & 1 and char != "/" and (char in token.chars) is not token.negated:
                    after |= 1 << position + 1
        else:
            for position in range(len(address) + 1):
                if reached >> position & 1:
                    for word in token.words:
                        if address.startswith(word, position):
                            after |= 1 << position + len(word)
        if not after:
            return False
        reached = after
    return bool(reached >> len(address) & 1)


def expand(pattern: str, addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses that the pattern matches, in the order given.

    PatternError when it is malformed, has more than MAX_WILDCARDS wildcards or more than MAX_MATCHES matches.
    """
    tokens = tokenise(pattern)
    found = tuple(address for address in addresses if matches(tokens, address))
    if len(found) > MAX_MATCHES:
        raise PatternError(f"{len(found)} matches; {MAX_MATCHES} are allowed")
    return found
