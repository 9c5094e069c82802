"""Address patterns, and the bombs that must not go off."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installation.control.pattern import MAX_MATCHES, MAX_WILDCARDS, PatternError, expand, is_pattern, matches, tokenise


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/bc", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b/c", False),
        ("/*/c", "/a/b/c", False),
        ("/*/*/c", "/a/b/c", True),
        ("/*b*", "/abc", True),
        ("/*b*", "/ac", False),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a?c", "/a/c", False),
        ("/[abc]x", "/bx", True),
        ("/[a-c]x", "/dx", False),
        ("/[!a-c]x", "/dx", True),
        ("/[!a-c]x", "/bx", False),
        ("/a[!b]c", "/a/c", False),
        ("/[a-]x", "/-x", True),
        ("/{one,two}/x", "/two/x", True),
        ("/{one,two}/x", "/three/x", False),
        ("/{a,ab}bc", "/abbc", True),
        ("/{a,ab}bc", "/abc", True),
        ("/{,a}b", "/b", True),
        ("/*{x,y}?", "/aaxz", True),
        ("/**", "/abc", True),
    ],
)
def test_matching(pattern: str, address: str, expected: bool) -> None:
    assert matches(tokenise(pattern), address) is expected


@pytest.mark.parametrize("pattern", ["/[abc", "/{a,b", "/a]", "/a}", "/[a{b]", "/{a[b}", "/[]", "/[!]", "/{a,{b,c}}"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        tokenise(pattern)


def test_more_wildcards_than_allowed_are_refused() -> None:
    assert matches(tokenise("/" + "?" * MAX_WILDCARDS), "/" + "a" * MAX_WILDCARDS)
    with pytest.raises(PatternError, match="wildcards"):
        tokenise("/" + "?" * (MAX_WILDCARDS + 1))


def test_the_thirty_star_bomb_is_refused() -> None:
    with pytest.raises(PatternError, match="wildcards"):
        expand("/" + "*" * 30 + "x", ["/" + "a" * 200])


@pytest.mark.parametrize("pattern", ["/" + "*" * 30 + "x", "/" + "*a" * 60 + "x", "/" + "{a,aa,aaa}" * 40 + "x"])
def test_the_matcher_is_linear_even_without_the_limit(pattern: str) -> None:
    # A backtracking matcher needs more than 2**30 steps here; the test would not end.
    assert not matches(tokenise(pattern, max_wildcards=1000), "/" + "a" * 250)


def test_more_matches_than_allowed_are_refused() -> None:
    addresses = [f"/a/{i}" for i in range(MAX_MATCHES + 1)]
    assert expand("/a/*", addresses[:-1]) == tuple(addresses[:-1])
    with pytest.raises(PatternError, match="matches"):
        expand("/a/*", addresses)


def test_plain_addresses_are_no_patterns() -> None:
    assert not is_pattern("/installation/drift/speed")
    assert all(is_pattern(f"/a{char}") for char in "?*[]{}")


def as_regex(pattern: str) -> str:
    """An independent reading of simple patterns, for short and harmless ones."""
    steps = {"*": "[^/]*", "?": "[^/]"}
    return "".join(steps.get(char) or re.escape(char) for char in pattern)


@given(
    st.text("ab/*?", max_size=10).filter(lambda text: sum(text.count(c) for c in "*?") <= 5), st.text("ab/", max_size=8)
)
def test_agrees_with_a_regular_expression(pattern: str, address: str) -> None:
    assert matches(tokenise(pattern), address) is (re.fullmatch(as_regex(pattern), address) is not None)
