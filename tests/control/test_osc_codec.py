"""OSC datagrams: what is read, what is refused, and python-osc as the second opinion."""

from __future__ import annotations

import math
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc import osc_bundle_builder
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from installation.control.osc_codec import (
    IMPULSE,
    MAX_ADDRESS,
    MAX_ARGS,
    MAX_DEPTH,
    MAX_ELEMENTS,
    Opaque,
    OscError,
    encode,
    parse,
)

NOW = struct.pack(">Q", 1)


def bundle(*elements: bytes, timetag: bytes = NOW) -> bytes:
    return b"#bundle\0" + timetag + b"".join(struct.pack(">i", len(element)) + element for element in elements)


def padded(raw: bytes) -> bytes:
    return raw + b"\0" * (4 - len(raw) % 4)


FADER = encode("/installation/drift/speed", (0.5,))
ALL_TYPES = (
    padded(b"/all")
    + padded(b",ifdhTFNIsSbtcrm")
    + struct.pack(">ifdq", -7, 0.25, 1e-300, -(2**40))
    + padded("grün".encode())
    + padded(b"symbol")
    + struct.pack(">i", 5)
    + b"12345\0\0\0"
    + struct.pack(">Q", 0xEAC0000000000000)
    + struct.pack(">I", ord("x"))
    + b"\x10\x20\x30\x40"
    + b"\x00\x90\x40\x7f"
)
addresses = st.text("abcdefghijklmnopqrstuvwxyz0123456789/_-", min_size=1, max_size=60).map(lambda text: "/" + text)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
floats32 = st.floats(width=32, allow_nan=False)
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    floats32,
    st.booleans(),
    st.none(),
    texts,
    st.binary(max_size=40).map(lambda data: Opaque("b", data)),
    st.just(IMPULSE),
)


def test_every_type_is_read() -> None:
    assert parse(ALL_TYPES) == [
        (
            "/all",
            (
                *(-7, 0.25, 1e-300, -(2**40), True, False, None, IMPULSE, "grün", "symbol"),
                *(Opaque("b", b"12345"), Opaque("t", b"\xea\xc0" + b"\0" * 6), Opaque("c", b"\0\0\0x")),
                *(Opaque("r", b"\x10\x20\x30\x40"), Opaque("m", b"\x00\x90\x40\x7f")),
            ),
        )
    ]


@given(addresses, st.lists(values, max_size=8))
def test_encode_is_the_inverse(address: str, args: list) -> None:
    assert parse(encode(address, args)) == [(address, tuple(args))]


def test_numbers_beyond_32_bits_take_the_wider_type() -> None:
    assert parse(encode("/a", (4294967295, 1e300, -(2**31))))[0][1] == (4294967295, 1e300, -(2**31))


@given(addresses, st.lists(st.one_of(st.integers(-(2**31), 2**31 - 1), floats32, st.booleans(), texts), max_size=8))
def test_reads_what_python_osc_writes(address: str, args: list) -> None:
    builder = OscMessageBuilder(address=address)
    for value in args:
        builder.add_arg(value, "i" if isinstance(value, int) and not isinstance(value, bool) else None)
    message = builder.build()
    assert parse(message.dgram) == [(address, tuple(message.params))]


@given(addresses, st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), floats32, st.booleans(), texts), max_size=8))
def test_python_osc_reads_what_is_written(address: str, args: list) -> None:
    message = OscMessage(encode(address, args))
    assert message.address == address
    assert message.params == args


def test_bundles_agree_with_python_osc() -> None:
    inner = osc_bundle_builder.OscBundleBuilder(osc_bundle_builder.IMMEDIATELY)
    outer = osc_bundle_builder.OscBundleBuilder(osc_bundle_builder.IMMEDIATELY)
    for i in range(600):
        builder = OscMessageBuilder(address=f"/m/{i}")
        builder.add_arg(i, "i")
        (inner if i % 3 else outer).add_content(builder.build())
    outer.add_content(inner.build())
    built: OscBundle = outer.build()
    assert len(built.dgram) > 8192
    assert sorted(parse(built.dgram)) == sorted((f"/m/{i}", (i,)) for i in range(600))


def test_a_memoryview_is_read_like_bytes() -> None:
    buffer = bytearray(64)
    buffer[: len(FADER)] = FADER
    assert parse(memoryview(buffer)[: len(FADER)]) == parse(FADER) == [("/installation/drift/speed", (0.5,))]


def test_an_empty_bundle_says_nothing() -> None:
    assert parse(bundle()) == []


# Fault 1: element sizes.
@pytest.mark.parametrize("size", [-4, -1, 0, 1, 3, 6, len(FADER) + 4, 2**31 - 4, -(2**31), 2**31 - 1])
def test_a_bad_element_size_is_refused(size: int) -> None:
    with pytest.raises(OscError, match="bundle element"):
        parse(b"#bundle\0" + NOW + struct.pack(">i", size) + FADER)


def test_the_twenty_bytes_that_hang_a_server_are_refused() -> None:
    with pytest.raises(OscError):
        parse(b"#bundle\0" + NOW + struct.pack(">i", -4))


def test_one_bad_element_refuses_the_whole_bundle() -> None:
    with pytest.raises(OscError):
        parse(bundle(FADER, FADER) + struct.pack(">i", 8))


# Fault 3: time tags.
@pytest.mark.parametrize("ahead_s", [3600, 365 * 86400, -80 * 365 * 86400, 40 * 365 * 86400])
def test_a_time_tag_is_ignored(ahead_s: int) -> None:
    ntp = (int(time.time()) + 2208988800 + ahead_s) % 2**32
    assert parse(bundle(FADER, timetag=struct.pack(">II", ntp, 0))) == parse(FADER)


# Fault 4: depth and number.
def test_deep_nesting_is_refused_and_shallow_is_read() -> None:
    packet = FADER
    for _ in range(MAX_DEPTH):
        packet = bundle(packet)
    assert parse(packet) == parse(FADER)
    with pytest.raises(OscError, match="nested"):
        parse(bundle(packet))
    for _ in range(1500):
        packet = bundle(packet)
    with pytest.raises(OscError, match="nested"):
        parse(packet)


def test_too_many_elements_are_refused() -> None:
    empty = encode("/a")[:4]
    assert len(parse(bundle(*[empty] * MAX_ELEMENTS))) == MAX_ELEMENTS
    for count in (MAX_ELEMENTS + 1, 8000, 10_000):
        with pytest.raises(OscError, match="elements"):
            parse(bundle(*[empty] * count))
    with pytest.raises(OscError, match="elements"):
        parse(bundle(bundle(*[empty] * 600), bundle(*[empty] * 600)))


def test_the_largest_datagram_is_read_or_refused() -> None:
    text = "x" * (65504 - 16)
    datagram = encode("/installation", (text,))[:65504]
    assert len(datagram) == 65504
    with pytest.raises(OscError):
        parse(b"/" * 65504)
    with pytest.raises(OscError):
        parse(b"\xff" * 65507)


# Fault 5: truncation and what is missing.
@pytest.mark.parametrize("packet", [FADER, ALL_TYPES, bundle(FADER, bundle(ALL_TYPES), FADER)])
def test_a_packet_cut_anywhere_is_refused(packet: bytes) -> None:
    for length in range(len(packet)):
        cut = packet[:length]
        # Cut behind the address it is an older sender's question; cut behind an element, a shorter bundle's start.
        if length == len(padded(b"/installation/drift/speed")) and packet is FADER:
            assert parse(cut) == [("/installation/drift/speed", ())]
        elif packet is ALL_TYPES and length == len(padded(b"/all")):
            assert parse(cut) == [("/all", ())]
        elif packet.startswith(b"#bundle") and length in whole_ends(packet):
            parse(cut)
        else:
            with pytest.raises(OscError):
                parse(cut)


def whole_ends(packet: bytes) -> set[int]:
    """Lengths at which a bundle's elements end."""
    ends, index = {16}, 16
    while index < len(packet):
        index += 4 + struct.unpack_from(">i", packet, index)[0]
        ends.add(index)
    return ends


def test_a_missing_type_tag_is_taken_only_without_arguments() -> None:
    assert parse(padded(b"/a")) == parse(padded(b"/a") + padded(b",")) == [("/a", ())]
    with pytest.raises(OscError, match="type tag"):
        parse(padded(b"/a") + struct.pack(">f", 1.0))


@pytest.mark.parametrize("tags", [b",x", b",f[", b",[f]", b",\xff", b",fz", b", f"])
def test_unknown_tags_are_refused(tags: bytes) -> None:
    with pytest.raises(OscError):
        parse(padded(b"/a") + padded(tags) + struct.pack(">f", 1.0))


@pytest.mark.parametrize("size", [-8, -1, 9, 2**31 - 1, -(2**31)])
def test_a_bad_blob_size_is_refused(size: int) -> None:
    with pytest.raises(OscError, match="blob"):
        parse(padded(b"/a") + padded(b",b") + struct.pack(">i", size) + b"\0" * 8)


def test_bytes_after_the_last_argument_are_refused() -> None:
    with pytest.raises(OscError, match="after the last"):
        parse(FADER + b"\0\0\0\0")


def test_too_many_arguments_are_refused() -> None:
    assert len(parse(encode("/a", (True,) * MAX_ARGS))[0][1]) == MAX_ARGS
    with pytest.raises(OscError, match="arguments"):
        parse(encode("/a", (True,) * (MAX_ARGS + 1)))


# Fault 9: text.
@pytest.mark.parametrize(
    "packet",
    [
        padded(b"/inst\xc3\x28") + padded(b",f") + struct.pack(">f", 1.0),
        padded("/grün".encode()),
        padded(b"/a") + padded(b",s") + padded(b"\xff\xfe"),
        b"/a\0b" + padded(b",f") + struct.pack(">f", 1.0),
        padded(b"/a") + padded(b",s") + b"a\0b\0",
        padded(b"/" + b"a" * MAX_ADDRESS),
        padded(b"/" + b"a" * 4096),
        b"/no/end/",
    ],
)
def test_bad_text_is_refused(packet: bytes) -> None:
    with pytest.raises(OscError):
        parse(packet)


# Fault 7: the reader lets odd numbers through; the table refuses them.
def test_odd_floats_are_read() -> None:
    raw = (b"\x7f\xc0\0\0", b"\x7f\x80\0\0", b"\xff\x80\0\0", b"\x80\0\0\0", b"\0\0\0\1")
    packet = padded(b"/a") + padded(b",fffff") + b"".join(raw)
    nan, inf, minus_inf, minus_zero, tiny = parse(packet)[0][1]
    assert math.isnan(nan)  # pyright: ignore[reportArgumentType]
    assert (inf, minus_inf, minus_zero) == (math.inf, -math.inf, 0.0)
    assert 0.0 < tiny < 1e-44  # pyright: ignore[reportOperatorIssue]


@pytest.mark.parametrize("address", ["", "a", "grün", "/grün", "/a\0b"])
def test_an_address_that_osc_cannot_carry_is_not_written(address: str) -> None:
    with pytest.raises(ValueError):
        encode(address)


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_the_one_error(data: bytes) -> None:
    for datagram in (data, b"/" + data, b"#bundle\0" + data):
        try:
            parse(datagram)
        except OscError:
            continue
